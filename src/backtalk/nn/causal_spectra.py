"""Sound as short overlapping spectra on a running stream, and back, without looking ahead.

A codec that begins and ends in spectra need not work at the rate of samples, where narrow layers
take most of the time and learn little (iSTFTNet, arXiv 2203.02395; Vocos, arXiv 2306.00814).
Samples and spectra lie channels last, as in `nn/conv.py`; windows are four hops long.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.nn.conv import ConvState, new_state, windows
from backtalk.nn.spectrum_synthesis import OVERLAP, SpectrumSynthesis, fourier

_QUIETEST = 1e-3
# About the mean logarithm of speech, so that a network is given numbers around zero.
_MEAN = -3.0


class CausalSpectrumAnalysis(nn.Module):
    """Samples to logarithms of magnitudes, of windows that end now.

    Args:
        hop: samples per spectrum.
    Attributes:
        bins: per spectrum.
    """

    waves: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.window = OVERLAP * hop
        self.bins = self.window // 2 + 1
        self.compute_waves()

    def compute_waves(self) -> None:
        """Fill what is no weight; again where a module was built without values."""
        envelope = torch.hann_window(self.window) * self.window**-0.5
        waves = (fourier(self.window) * envelope).T.contiguous()
        self.register_buffer("waves", waves, persistent=False)

    def alloc(self, slots: int) -> ConvState:
        """State of `slots` streams that have not begun."""
        return new_state(self, slots, self.window - self.hop, 1)

    def reset(self, state: ConvState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        state.reset(mask)

    def forward(self, x: Tensor) -> Tensor:
        """Whole streams: float `[B, T, 1]`, T a multiple of the hop, to `[B, T / hop, bins]`."""
        return self._logs(F.pad(x, (0, 0, self.window - self.hop, 0)))

    def step(self, state: ConvState, x: Tensor, active: Tensor) -> Tensor:
        """The next samples of every slot.

        Args:
            x: float `[slots, T, 1]`, T a multiple of the hop.
            active: bool `[slots]`; the state of other slots stays as it is.
        Returns:
            `[slots, T / hop, bins]`.
        """
        return self._logs(state.extend(x, active))

    def _logs(self, joined: Tensor) -> Tensor:
        with torch.autocast(joined.device.type, enabled=False):  # rounding would drown what is soft
            spectra = windows(joined.to(self.waves.dtype), self.window, self.hop) @ self.waves
            real, imaginary = spectra.chunk(2, dim=-1)
            power = real.square() + imaginary.square()
            return 0.5 * (power + _QUIETEST**2).log() - _MEAN


class CausalSpectrumSynthesis(nn.Module):
    """What a network says of spectra to samples; the sound of a spectrum begins with its hop.

    Args:
        hop: samples per spectrum.
    Attributes:
        features: of a spectrum: logarithms of magnitudes, then angles.
    """

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.synthesis = SpectrumSynthesis(hop)
        self.features = 2 * self.synthesis.bins

    def alloc(self, slots: int) -> ConvState:
        """State of `slots` streams that have not begun."""
        return new_state(self, slots, OVERLAP - 1, self.features)

    def reset(self, state: ConvState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        state.reset(mask)

    def forward(self, x: Tensor) -> Tensor:
        """Whole streams: float `[B, T, features]` to `[B, T * hop, 1]`; differentiable."""
        return self._sound(F.pad(self._spectra(x), (0, 0, OVERLAP - 1, 0)))

    def step(self, state: ConvState, x: Tensor, active: Tensor) -> Tensor:
        """The next spectra of every slot.

        Args:
            x: float `[slots, T, features]`.
            active: bool `[slots]`; the state of other slots stays as it is.
        Returns:
            `[slots, T * hop, 1]`.
        """
        return self._sound(state.extend(self._spectra(x), active))

    def _spectra(self, x: Tensor) -> Tensor:
        magnitudes, phases = self.synthesis.polar(x, dim=-1)
        return torch.cat((magnitudes * phases.cos(), magnitudes * phases.sin()), dim=-1)

    def _sound(self, joined: Tensor) -> Tensor:
        """Of `[B, OVERLAP - 1 + T, features]` the last T, with what is left of the first."""
        length = joined.shape[1] - OVERLAP + 1
        with torch.autocast(joined.device.type, enabled=False):
            pieces = joined @ self.synthesis.waves[:, 0]
        pieces = pieces.view(*pieces.shape[:2], OVERLAP, self.hop)
        y = pieces[:, OVERLAP - 1 :, 0]
        for age in range(1, OVERLAP):
            y = y + pieces[:, OVERLAP - 1 - age : OVERLAP - 1 - age + length, age]
        return y.reshape(joined.shape[0], -1, 1)
