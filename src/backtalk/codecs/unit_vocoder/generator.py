"""HiFi-GAN's generator (arXiv 2010.05646): features of units to waveform.

It ends in samples, or earlier and for much less in short spectra (iSTFTNet, arXiv 2203.02395).

Every convolution is centred, so sound depends on units before and after it. `forward` therefore
makes the sound of the middle of its input; what is before and behind it is context, and is dropped
at each stage as soon as nothing in the middle depends on it, so that it costs little.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig
from backtalk.nn.spectrum_synthesis import SpectrumSynthesis

_SLOPE = 0.1
_LAST_SLOPE = 0.01


class ResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated, each pair with a residual."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=kernel // 2 * dilation, dilation=dilation)
            for dilation in dilations
        )
        self.plain = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=kernel // 2) for _ in dilations
        )

    def forward(self, x: Tensor, is_there: Tensor | None) -> Tensor:
        """[B, C, T] to the same; see `Generator`."""
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            y = dilated(_masked(F.leaky_relu(x, _SLOPE), is_there))
            x = x + plain(_masked(F.leaky_relu(y, _SLOPE), is_there))
        return x


class Generator(nn.Module):
    """A convolution, stages of upsampling and residual blocks beside each other, a convolution."""

    def __init__(self, config: UnitVocoderConfig) -> None:
        super().__init__()
        self.config = config
        half = config.kernel // 2
        self.first = nn.Conv1d(config.embedding, config.channels, config.kernel, padding=half)
        self.ups = cast(list[nn.ConvTranspose1d], nn.ModuleList())
        self.blocks = cast(list[list[ResidualBlock]], nn.ModuleList())
        channels = config.channels
        for rate, kernel, narrower in zip(
            config.rates, config.rate_kernels, config.stage_channels, strict=True
        ):
            padding = (kernel - rate) // 2
            self.ups.append(nn.ConvTranspose1d(channels, narrower, kernel, rate, padding))
            channels = narrower
            beside = [ResidualBlock(channels, k, config.dilations) for k in config.block_kernels]
            self.blocks.append(cast(list[ResidualBlock], nn.ModuleList(beside)))
        self.synthesis = SpectrumSynthesis(config.spectrum_hop) if config.spectrum_hop else None
        outputs = 2 * self.synthesis.bins if self.synthesis else 1
        self.last = nn.Conv1d(channels, outputs, config.kernel, padding=half)

    def forward(self, x: Tensor, is_there: Tensor | None = None, margin: int = 0) -> Tensor:
        """Features to sound.

        Args:
            x: float [B, embedding, units].
            is_there: float [B, 1, units], 1 or 0: whether a unit is part of the recording; around
                a recording there is nothing, not even biases. None: all are.
            margin: units at either end whose sound is not wanted.
        Returns:
            float [B, (units - 2 margin) * hop_samples]. With a margin of `config.reach` units it is
            the sound that they have in the whole recording.
        """
        config = self.config
        x = self.first(_masked(x, is_there))
        for up, blocks, rate, reach in zip(
            self.ups, self.blocks, config.rates, config.stage_reaches, strict=True
        ):
            x = up(_masked(F.leaky_relu(x, _SLOPE), is_there))
            if is_there is not None:
                is_there = is_there.repeat_interleave(rate, dim=2)
            margin *= rate
            if (spare := margin - reach) > 0:
                x = _trimmed(x, spare)
                is_there = None if is_there is None else _trimmed(is_there, spare)
                margin = reach
            x = torch.stack([block(x, is_there) for block in blocks]).mean(0)
        x = self.last(_masked(F.leaky_relu(x, _LAST_SLOPE), is_there))
        if self.synthesis is None:
            x = torch.tanh(x)
        else:
            magnitudes, phases = self.synthesis.polar(x)
            x = self.synthesis(_masked(magnitudes, is_there), phases)
            margin *= config.spectrum_hop
        return _trimmed(x, margin)[:, 0]


def _masked(x: Tensor, is_there: Tensor | None) -> Tensor:
    return x if is_there is None else x * is_there


def _trimmed(x: Tensor, samples: int) -> Tensor:
    return x[..., samples : x.shape[-1] - samples]
