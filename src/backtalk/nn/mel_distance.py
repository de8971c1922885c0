"""How far two sounds are apart in mel spectrograms of several resolutions.

Mean absolute difference of base-10 logarithms (as in HiFi-GAN, arXiv 2010.05646; several
resolutions as in EnCodec, arXiv 2210.13438). Noise below about -76 dBFS counts as silence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FLOOR = 1e-4
_BINS_PER_BAND = 8


class MelDistance(nn.Module):
    """The mean distance over window lengths.

    Args:
        sample_rate: Hz of both sounds.
        windows: samples of a spectrum; a quarter of each is the hop.
    """

    def __init__(self, sample_rate: int, windows: tuple[int, ...]) -> None:
        super().__init__()
        self.windows = windows
        for window in windows:
            filters = mel_filters(sample_rate, window, window // 2 // _BINS_PER_BAND)
            self.register_buffer(f"hann_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"filters_{window}", filters, persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance of float [B, T] from float [B, T], T at least the longest window; scalar."""
        distances = [(self.log_mel(x, w) - self.log_mel(y, w)).abs().mean() for w in self.windows]
        return torch.stack(distances).mean()

    def log_mel(self, pcm: Tensor, window: int) -> Tensor:
        """Float [B, T] to base-10 logarithms of mel magnitudes [B, bands, frames]."""
        hann, filters = self.get_buffer(f"hann_{window}"), self.get_buffer(f"filters_{window}")
        with torch.autocast(pcm.device.type, enabled=False):
            spectrum = torch.stft(
                pcm.float(), window, window // 4, window=hann, normalized=True, return_complex=True
            )
            # The magnitude of nothing has no gradient.
            power = spectrum.real.square() + spectrum.imag.square()
            return (filters @ (power + _FLOOR**2).sqrt()).clamp(min=_FLOOR).log10()


def mel_filters(sample_rate: int, window: int, bands: int) -> Tensor:
    """Triangles of equal width in mel, each adding up to 1: float32 [bands, window // 2 + 1].

    The mel scale is O'Shaughnessy's, 2595 log10(1 + hz / 700). A band narrower than two bins takes
    what its triangle would be if it were that wide.
    """
    bins_hz = torch.linspace(0, sample_rate / 2, window // 2 + 1)
    top_mel = 2595 * torch.log10(torch.tensor(1 + sample_rate / 2 / 700))
    edges_hz = 700 * (10 ** (torch.linspace(0, 1, bands + 2) * top_mel / 2595) - 1)
    centres_hz = edges_hz[1:-1, None]
    bin_hz = sample_rate / window
    below_hz = (centres_hz - edges_hz[:-2, None]).clamp(min=bin_hz)
    above_hz = (edges_hz[2:, None] - centres_hz).clamp(min=bin_hz)
    rising = 1 - (centres_hz - bins_hz) / below_hz
    falling = 1 - (bins_hz - centres_hz) / above_hz
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles / triangles.sum(1, keepdim=True)
