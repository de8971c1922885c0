"""Sound from short overlapping spectra, as a layer: the inverse short-time Fourier transform."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OVERLAP = 4
"""Windows are so many hops long."""

_LARGEST = math.log(100)


class SpectrumSynthesis(nn.Module):
    """Magnitudes and phases to samples, `hop` per spectrum.

    A network that ends in spectra need not work at the rate of samples, which costs most of the
    time of those that do (iSTFTNet, arXiv 2203.02395). Phases are taken as angles, magnitudes as
    logarithms (Vocos, arXiv 2306.00814).

    Args:
        hop: samples per spectrum; windows are four times as long.
    Attributes:
        bins: per spectrum.
        reach: spectra on either side that a sample depends on.
    """

    reach = OVERLAP // 2
    waves: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.bins = OVERLAP * hop // 2 + 1
        self.compute_waves()

    def compute_waves(self) -> None:
        """Fill what is no weight; again where a module was built without values."""
        window = OVERLAP * self.hop
        # Bins that a real signal has twice count twice; squared Hann windows add up to 1.5.
        counts = torch.full((self.bins, 1), 2.0)
        counts[0] = counts[-1] = 1.0
        envelope = torch.hann_window(window) * counts / (window * 1.5) * window**0.5
        waves = fourier(window) * envelope.repeat(2, 1)
        self.register_buffer("waves", waves[:, None], persistent=False)

    def polar(self, x: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """What a network says, float [B, 2 bins, T], as magnitudes and phases [B, bins, T].

        Args:
            dim: where the 2 bins are.
        """
        logs, phases = x.to(self.waves.dtype).chunk(2, dim)  # half precision has few angles
        return logs.clamp(max=_LARGEST).exp(), phases

    def forward(self, magnitudes: Tensor, phases: Tensor) -> Tensor:
        """Add the spectra up.

        Args:
            magnitudes, phases: float [B, bins, T].
        Returns:
            float [B, 1, T * hop]; spectrum t is centred on sample (t + 1/2) * hop.
        """
        spectra = torch.cat((magnitudes * phases.cos(), magnitudes * phases.sin()), dim=1)
        pcm = F.conv_transpose1d(spectra, self.waves, stride=self.hop)
        cut = (self.waves.shape[-1] - self.hop) // 2
        return pcm[..., cut : pcm.shape[-1] - cut]


def fourier(window: int) -> Tensor:
    """The discrete Fourier transform of a real window: float [2 bins, window], real parts first."""
    bins = torch.arange(window // 2 + 1)[:, None]
    angles = bins * torch.arange(window) * (2 * math.pi / window)
    return torch.cat((torch.cos(angles), -torch.sin(angles)))
