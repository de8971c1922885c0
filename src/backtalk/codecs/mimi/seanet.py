"""SEANet: the convolutions between waveform and latents (arXiv 2009.02095; sizes of Mimi's).

Every convolution but the first is preceded by an ELU. A residual block halves the channels and
brings them back. With `spectrum_hop`, the sound is spectra at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.nn.causal_spectra import CausalSpectrumAnalysis, CausalSpectrumSynthesis
from backtalk.nn.conv import CausalConv1d, CausalConvTranspose1d, ConvState

Part = TypeVar("Part", bound=nn.Module)


@dataclass(slots=True)
class SeanetState:
    """States of the convolutions and of the spectra at an end, in the order in which they run."""

    convs: list[ConvState]


class ResidualBlock(nn.Module):
    """x + conv(elu(conv(elu(x)))); only the first convolution looks back."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.first = CausalConv1d(channels, channels // 2, kernel)
        self.second = CausalConv1d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Whole streams, `[B, T, channels]` to the same; differentiable."""
        y: Tensor = x + self.second.linear(F.elu(self.first(F.elu(x))))
        return y

    def step(self, state: ConvState, x: Tensor, active: Tensor) -> Tensor:
        """The next samples, `[slots, T, channels]` to the same; `state` is that of `first`."""
        y = self.first.step(state, F.elu(x), active)
        return self.second.product(F.elu_(y)).add_(x)


class SeanetEncoder(nn.Module):
    """Waveform to latents, `frame_size / frame_positions` samples per latent."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        channels = config.channels
        hop = config.spectrum_hop
        self.analysis = CausalSpectrumAnalysis(hop) if hop else None
        self.first = CausalConv1d(config.inputs, channels, config.kernel)
        self.blocks = _modules(ResidualBlock)
        self.downs = _modules(CausalConv1d)
        for stride in config.strides:
            self.blocks.append(ResidualBlock(channels, config.residual_kernel))
            self.downs.append(CausalConv1d(channels, 2 * channels, 2 * stride, stride))
            channels *= 2
        self.last = CausalConv1d(channels, config.width, config.last_kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Whole streams, `[B, T, 1]` to `[B, latents, width]`; differentiable."""
        x = self.first(x if self.analysis is None else self.analysis(x))
        for block, down in zip(self.blocks, self.downs, strict=True):
            x = down(F.elu(block(x)))
        y: Tensor = self.last(F.elu(x))
        return y

    def alloc(self, slots: int) -> SeanetState:
        """State of `slots` streams that have not begun."""
        convs = [] if self.analysis is None else [self.analysis.alloc(slots)]
        convs.append(self.first.alloc(slots))
        for block, down in zip(self.blocks, self.downs, strict=True):
            convs += [block.first.alloc(slots), down.alloc(slots)]
        return SeanetState([*convs, self.last.alloc(slots)])

    def reset(self, state: SeanetState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        for conv in state.convs:
            conv.reset(mask)

    def step(self, state: SeanetState, x: Tensor, active: Tensor) -> Tensor:
        """The next samples of every slot.

        Args:
            x: `[slots, T, 1]`, T samples of whole latents.
            active: bool `[slots]`; the state of other slots stays as it is.
        Returns:
            `[slots, latents, width]`.
        """
        convs = iter(state.convs)
        if self.analysis is not None:
            x = self.analysis.step(next(convs), x, active)
        x = self.first.step(next(convs), x, active)
        for block, down in zip(self.blocks, self.downs, strict=True):
            x = block.step(next(convs), x, active)
            x = down.step(next(convs), F.elu_(x), active)
        return self.last.step(next(convs), F.elu_(x), active)


class SeanetDecoder(nn.Module):
    """Latents to waveform, the encoder's mirror image."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        channels = config.channels * 2 ** len(config.strides)
        self.first = CausalConv1d(config.width, channels, config.kernel)
        self.ups = _modules(CausalConvTranspose1d)
        self.blocks = _modules(ResidualBlock)
        for stride in reversed(config.strides):
            self.ups.append(CausalConvTranspose1d(channels, channels // 2, 2 * stride, stride))
            channels //= 2
            self.blocks.append(ResidualBlock(channels, config.residual_kernel))
        self.last = CausalConv1d(channels, config.outputs, config.last_kernel)
        hop = config.spectrum_hop
        self.synthesis = CausalSpectrumSynthesis(hop) if hop else None

    def forward(self, x: Tensor) -> Tensor:
        """Whole streams, `[B, latents, width]` to `[B, T, 1]`; differentiable."""
        x = self.first(x)
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = block(up(F.elu(x)))
        y: Tensor = self.last(F.elu(x))
        return y if self.synthesis is None else self.synthesis(y)

    def alloc(self, slots: int) -> SeanetState:
        """State of `slots` streams that have not begun."""
        convs = [self.first.alloc(slots)]
        for up, block in zip(self.ups, self.blocks, strict=True):
            convs += [up.alloc(slots), block.first.alloc(slots)]
        convs.append(self.last.alloc(slots))
        if self.synthesis is not None:
            convs.append(self.synthesis.alloc(slots))
        return SeanetState(convs)

    def reset(self, state: SeanetState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        for conv in state.convs:
            conv.reset(mask)

    def step(self, state: SeanetState, x: Tensor, active: Tensor) -> Tensor:
        """The next latents of every slot, `[slots, latents, width]` to `[slots, T, 1]`.

        Args:
            x: `[slots, latents, width]`.
            active: bool `[slots]`; the state of other slots stays as it is.
        """
        convs = iter(state.convs)
        x = self.first.step(next(convs), x, active)
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = up.step(next(convs), F.elu_(x), active)
            x = block.step(next(convs), x, active)
        x = self.last.step(next(convs), F.elu_(x), active)
        return x if self.synthesis is None else self.synthesis.step(next(convs), x, active)


def _modules(kind: type[Part]) -> list[Part]:
    """An empty `ModuleList`, which knows no types, as the list it behaves as."""
    return cast(list[Part], nn.ModuleList())
