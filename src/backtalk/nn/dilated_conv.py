"""A convolution of every channel with taps of its own that lie several frames apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DilatedDepthwiseConv1d(nn.Module):
    """y[t] = bias + sum of taps[i] * x[t + i * dilation], without padding.

    Channels last, so that what follows (norms, products) needs no transposition. Memory is the
    caller's: `reach` frames of it before the first one make it causal.

    Args:
        channels: of input and output.
        kernel: taps per channel.
        dilation: frames between two taps.
    Attributes:
        reach: frames that it looks back.
        taps: `[kernel, channels]`, the oldest frame's first.
        bias: `[channels]`.
    """

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.reach = (kernel - 1) * dilation
        self.taps = nn.Parameter(torch.randn(kernel, channels) * kernel**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, reach + T, channels]` to `[B, T, channels]`."""
        length = x.shape[1] - self.reach
        y = self.bias
        for i, tap in enumerate(self.taps):
            begin = i * self.dilation
            y = y + x[:, begin : begin + length] * tap
        return y
