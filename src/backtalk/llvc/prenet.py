"""The gated convolutions on the waveform that some voices begin with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.llvc.config import KERNEL

_REACH = KERNEL - 1


class PreNet(nn.Module):
    """x + blocks(x), each block y + tanh(filter(y)) * sigmoid(gate(y)), one channel throughout.

    The authors drop a block's whole output half of the time, in inference too. Here nothing is
    dropped: the result would be another one every time.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        # Filter and gate of a block as the two output channels of one convolution.
        self.blocks = nn.ModuleList(nn.Conv1d(1, 2, KERNEL) for _ in range(blocks))
        self.reach = _REACH * blocks

    def forward(self, x: Tensor) -> Tensor:
        """A whole recording, `[B, T]`; every block begins with an empty memory."""
        y = x[:, None]
        for block in self.blocks:
            y = _gated(block, F.pad(y, (_REACH, 0)))
        return x + y[:, 0]

    def continued(self, x: Tensor) -> Tensor:
        """The last T samples of `[B, reach + T]`: the past is run through the blocks again."""
        y = x[:, None]
        for block in self.blocks:
            y = _gated(block, y)
        return x[:, self.reach :] + y[:, 0]


def _gated(block: nn.Module, x: Tensor) -> Tensor:
    filtered, gate = block(x).chunk(2, dim=1)
    return x[..., _REACH:] + torch.tanh(filtered) * torch.sigmoid(gate)
