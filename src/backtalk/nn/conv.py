"""Causal convolutions on a running stream, as one matrix product each.

Samples lie channels last, `[slots, T, channels]`, so the inputs that one output sees are one
contiguous run of memory: a convolution is a product of overlapping windows with one matrix, and so
is a transposed convolution, whose matrix gives `stride` output samples at once. Both keep the last
inputs as their state, which for a transposed convolution is smaller than the overlapping outputs
other implementations keep, and needs no care for the bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(slots=True)
class ConvState:
    """What a convolution remembers of each slot.

    Attributes:
        history: the last inputs, `[slots, history, channels]`.
        is_fresh: bool `[slots]`, True before a slot's first step; only kept where the first input
            is replicated.
    """

    history: Tensor
    is_fresh: Tensor

    def reset(self, mask: Tensor) -> None:
        """Make the slots where `mask` (bool `[slots]`) is True as good as new."""
        self.history.masked_fill_(mask[:, None, None], 0.0)
        self.is_fresh.logical_or_(mask)

    def extend(self, x: Tensor, active: Tensor, replicate: bool = False) -> Tensor:
        """History and `x` joined, `[slots, history + T, channels]`; then remember its end.

        Args:
            x: `[slots, T, channels]`.
            active: bool `[slots]`; the history of other slots stays as it is.
            replicate: a fresh slot's history is its first input instead of zeros.
        """
        history = self.history
        length = history.shape[1]
        if length == 0:
            return x
        if replicate:
            history = torch.where(self.is_fresh[:, None, None], x[:, :1], history)
            self.is_fresh.logical_and_(~active)
        joined = torch.cat((history, x), dim=1)
        torch.where(active[:, None, None], joined[:, -length:], self.history, out=self.history)
        return joined


class CausalConv1d(nn.Module):
    """A convolution that sees only the past.

    Its product is a `Linear` from `kernel * in_channels` (oldest input first) to `out_channels`,
    which may be replaced by one with smaller weights.

    Args:
        in_channels, out_channels: channels.
        kernel: inputs per output, at least `stride`.
        stride: inputs per output step.
        bias: whether there is one.
        replicate: before the stream begins there was its first input; by default zeros.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        bias: bool = True,
        replicate: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= stride <= kernel:
            raise ValueError(f"kernel {kernel}, stride {stride}: need 1 <= stride <= kernel")
        self.in_channels = in_channels
        self.kernel = kernel
        self.stride = stride
        self.replicate = replicate
        self.product: nn.Module = nn.Linear(kernel * in_channels, out_channels, bias=bias)

    def alloc(self, slots: int) -> ConvState:
        """State of `slots` streams that have not begun."""
        return new_state(self, slots, self.kernel - self.stride, self.in_channels)

    def reset(self, state: ConvState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        state.reset(mask)

    @property
    def linear(self) -> nn.Linear:
        """The product, as long as its weights have not been made smaller."""
        assert isinstance(self.product, nn.Linear), "its weights have been made smaller"
        return self.product

    def forward(self, x: Tensor) -> Tensor:
        """Whole streams from their beginning; differentiable.

        Args:
            x: `[B, T, in_channels]`, T a multiple of the stride.
        Returns:
            `[B, T / stride, out_channels]`.
        """
        past = self.kernel - self.stride
        before = x[:, :1] if self.replicate else torch.zeros_like(x[:, :1])
        padded = torch.cat((before.expand(-1, past, -1), x), dim=1)
        weight = self.unpack_weight(self.linear.weight)
        y = F.conv1d(padded.transpose(1, 2), weight, self.linear.bias, self.stride)
        return y.transpose(1, 2)

    def step(self, state: ConvState, x: Tensor, active: Tensor) -> Tensor:
        """The next samples of every slot.

        Args:
            x: `[slots, T, in_channels]`, T a multiple of the stride.
            active: bool `[slots]`; the state of other slots stays as it is.
        Returns:
            `[slots, T / stride, out_channels]`.
        """
        joined = state.extend(x, active, self.replicate)
        return self.product(windows(joined, self.kernel, self.stride))

    @staticmethod
    def pack_weight(weight: Tensor) -> Tensor:
        """A convolution's weight `[out, in, kernel]` as the matrix of `product`."""
        return weight.transpose(1, 2).flatten(1)

    def unpack_weight(self, matrix: Tensor) -> Tensor:
        """The inverse of `pack_weight`."""
        return matrix.view(matrix.shape[0], self.kernel, self.in_channels).transpose(1, 2)


class CausalConvTranspose1d(nn.Module):
    """A transposed convolution without its last `kernel - stride` outputs, so that it is causal.

    Its product is a `Linear` from the last `ceil(kernel / stride)` inputs (oldest first) to
    `stride * out_channels`.

    Args:
        in_channels, out_channels: channels.
        kernel: outputs that one input reaches, at least `stride`.
        stride: outputs per input.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        if not 1 <= stride <= kernel:
            raise ValueError(f"kernel {kernel}, stride {stride}: need 1 <= stride <= kernel")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.reach = math.ceil(kernel / stride)
        self.product: nn.Module = nn.Linear(self.reach * in_channels, stride * out_channels)

    def alloc(self, slots: int) -> ConvState:
        """State of `slots` streams that have not begun."""
        return new_state(self, slots, self.reach - 1, self.in_channels)

    def reset(self, state: ConvState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        state.reset(mask)

    @property
    def linear(self) -> nn.Linear:
        """The product, as long as its weights have not been made smaller."""
        assert isinstance(self.product, nn.Linear), "its weights have been made smaller"
        return self.product

    def forward(self, x: Tensor) -> Tensor:
        """Whole streams from their beginning; differentiable.

        The bias is one per channel, so the same for all samples of a stride: training moves the
        mean of the copies, which keeps them equal if they were.

        Args:
            x: `[B, T, in_channels]`.
        Returns:
            `[B, T * stride, out_channels]`.
        """
        length = x.shape[1]
        padded = F.pad(x, (0, 0, self.reach - 1, 0))
        pieces = [padded[:, age : age + length] for age in range(self.reach)]
        bias = self.pack_bias(self.unpack_bias(self.linear.bias))
        y = F.linear(torch.cat(pieces, dim=-1), self.linear.weight, bias)
        return y.reshape(x.shape[0], length * self.stride, self.out_channels)

    def step(self, state: ConvState, x: Tensor, active: Tensor) -> Tensor:
        """The next samples of every slot.

        Args:
            x: `[slots, T, in_channels]`.
            active: bool `[slots]`; the state of other slots stays as it is.
        Returns:
            `[slots, T * stride, out_channels]`.
        """
        y = self.product(windows(state.extend(x, active), self.reach, 1))
        return y.view(x.shape[0], x.shape[1] * self.stride, self.out_channels)

    def pack_weight(self, weight: Tensor) -> Tensor:
        """A transposed convolution's weight `[in, out, kernel]` as the matrix of `product`."""
        padded = F.pad(weight, (0, self.reach * self.stride - weight.shape[2]))
        taps = padded.reshape(*weight.shape[:2], self.reach, self.stride).flip(2)
        return taps.permute(3, 1, 2, 0).flatten(2).flatten(0, 1)

    def pack_bias(self, bias: Tensor) -> Tensor:
        """A bias `[out]` as the bias of `product`."""
        return bias.repeat(self.stride)

    def unpack_weight(self, matrix: Tensor) -> Tensor:
        """The inverse of `pack_weight`, for kernels that are a multiple of the stride."""
        shape = (self.stride, self.out_channels, self.reach, self.in_channels)
        return matrix.view(shape).permute(3, 1, 2, 0).flip(2).flatten(2)

    def unpack_bias(self, bias: Tensor) -> Tensor:
        """The inverse of `pack_bias`; of copies that differ, their mean."""
        return bias.view(self.stride, self.out_channels).mean(0)


class DepthwiseConvTranspose1d(nn.Module):
    """A causal transposed convolution of every channel with a kernel of its own, without bias.

    Attributes:
        taps: `[reach, stride, channels]`, the newest input's first.
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride
        self.reach = math.ceil(kernel / stride)
        self.taps = nn.Parameter(torch.zeros(self.reach, stride, channels))

    def alloc(self, slots: int) -> ConvState:
        """State of `slots` streams that have not begun."""
        return new_state(self, slots, self.reach - 1, self.channels)

    def reset(self, state: ConvState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        state.reset(mask)

    def forward(self, x: Tensor) -> Tensor:
        """Whole streams: `[B, T, channels]` to `[B, T * stride, channels]`; differentiable."""
        return self._spread(F.pad(x, (0, 0, self.reach - 1, 0)), x.shape[1])

    def step(self, state: ConvState, x: Tensor, active: Tensor) -> Tensor:
        """The next samples: `[slots, T, channels]` to `[slots, T * stride, channels]`."""
        return self._spread(state.extend(x, active), x.shape[1])

    def _spread(self, joined: Tensor, length: int) -> Tensor:
        """What history and `length` inputs, `[slots, history + length, channels]`, become."""
        y = joined.new_zeros(joined.shape[0], length, self.stride, self.channels)
        for age in range(self.reach):
            begin = self.reach - 1 - age
            y.addcmul_(joined[:, begin : begin + length, None], self.taps[age])
        return y.flatten(1, 2)

    def pack_weight(self, weight: Tensor) -> Tensor:
        """A depth-wise transposed convolution's weight `[channels, 1, kernel]` as `taps`."""
        padded = F.pad(weight[:, 0], (0, self.reach * self.stride - weight.shape[2]))
        return padded.reshape(-1, self.reach, self.stride).permute(1, 2, 0)

    def unpack_weight(self, taps: Tensor) -> Tensor:
        """The inverse of `pack_weight`, for kernels that are a multiple of the stride."""
        return taps.permute(2, 0, 1).flatten(1).unsqueeze(1)


def windows(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Every run of `kernel` inputs, `stride` apart, as one row.

    Args:
        x: `[slots, T, channels]`, T at least `kernel`.
    Returns:
        `[slots, (T - kernel) // stride + 1, kernel * channels]`, contiguous.
    """
    slots, length, channels = x.shape
    x = x.contiguous()
    shape = (slots, (length - kernel) // stride + 1, kernel * channels)
    return x.as_strided(shape, (length * channels, stride * channels, 1)).contiguous()


def new_state(part: nn.Module, slots: int, history: int, channels: int) -> ConvState:
    """State of `slots` streams that have not begun, for a layer that looks back at inputs.

    Args:
        part: whose weights or buffers say which device and type.
        history: inputs to remember, of so many channels.
    """
    # Integer weights have no activations of their type: take the type of any that is not.
    like = next(p for p in (*part.parameters(), *part.buffers()) if p.is_floating_point())
    return ConvState(
        torch.zeros(slots, history, channels, device=like.device, dtype=like.dtype),
        torch.ones(slots, dtype=torch.bool, device=like.device),
    )
