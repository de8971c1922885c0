"""Judges of sound at several resolutions: real recordings from what a codec made of them.

Each looks at the complex spectrogram of one window length through 2-D convolutions that widen in
time and shrink in frequency. Structure and loss from EnCodec (arXiv 2210.13438, section 3.4), with
the number of filters free, and magnitudes compressed as hearing compresses them: judges that see
quiet partials beside loud ones learn several times as fast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

_DILATIONS = (1, 2, 4)
_SLOPE = 0.2
_LOUDNESS = 0.3
"""Power of the magnitude; loudness grows with about that of sound pressure (Stevens)."""
_QUIET = 1e-4
_GAIN = 4.0
"""Brings speech to about 1, as convolutions like it."""


class StftDiscriminator(nn.Module):
    """One resolution.

    Args:
        window: samples of a spectrum; a quarter of it is the hop.
        filters: of every convolution but the last.
    """

    hann: Tensor

    def __init__(self, window: int, filters: int) -> None:
        super().__init__()
        self.window = window
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        convs = [nn.Conv2d(2, filters, (3, 9), padding=(1, 4))]
        convs += [
            nn.Conv2d(filters, filters, (3, 9), (1, 2), (dilation, 4), (dilation, 1))
            for dilation in _DILATIONS
        ]
        convs.append(nn.Conv2d(filters, filters, (3, 3), padding=(1, 1)))
        convs.append(nn.Conv2d(filters, 1, (3, 3), padding=(1, 1)))
        self.convs = nn.ModuleList(weight_norm(conv) for conv in convs)

    def forward(self, pcm: Tensor) -> list[Tensor]:
        """What every convolution makes of the sound.

        Args:
            pcm: float [B, T], T at least `window`.
        Returns:
            [B, filters, frames, bins] of each but the last, then the verdict [B, 1, frames, bins],
            larger for what sounds real.
        """
        spectrum = torch.stft(
            pcm.float(),
            self.window,
            self.window // 4,
            window=self.hann,
            normalized=True,
            return_complex=True,
        )
        loudness = _GAIN * (spectrum.abs() + _QUIET) ** (_LOUDNESS - 1)
        spectrum = spectrum * loudness
        x = torch.stack((spectrum.real, spectrum.imag), dim=1).transpose(2, 3)
        seen = []
        for conv in self.convs[:-1]:
            x = F.leaky_relu(conv(x), _SLOPE)
            seen.append(x)
        seen.append(self.convs[-1](x))
        return seen


class MultiScaleDiscriminator(nn.Module):
    """Several of them beside each other.

    Args:
        windows: samples of a spectrum, of each.
        filters: of each.
    """

    def __init__(self, windows: tuple[int, ...], filters: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(StftDiscriminator(window, filters) for window in windows)

    def forward(self, pcm: Tensor) -> list[list[Tensor]]:
        """What every scale sees in float [B, T]; see `StftDiscriminator.forward`."""
        return [scale(pcm) for scale in self.scales]
