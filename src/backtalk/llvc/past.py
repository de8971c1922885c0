"""What a layer sees before the frames of now: silence, or what a running stream remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from backtalk.nn.history import History


class Past(Protocol):
    """The frames before."""

    def join(self, name: str, x: Tensor) -> Tensor:
        """The history `name`, then `x` `[B, T, width]`: `[B, length + T, width]`."""
        ...


@dataclass(frozen=True, slots=True)
class SilentPast:
    """Before a whole recording there was nothing.

    Attributes:
        lengths: frames of each history.
    """

    lengths: Mapping[str, int]

    def join(self, name: str, x: Tensor) -> Tensor:
        """See `Past`."""
        return F.pad(x, (0, 0, self.lengths[name], 0))


@dataclass(frozen=True, slots=True)
class RememberedPast:
    """Before a piece of a stream there was the rest of it; joining remembers the piece.

    Attributes:
        histories: of the stream's slots.
        active: bool `[slots]`; others remember nothing.
    """

    histories: Mapping[str, History]
    active: Tensor

    def join(self, name: str, x: Tensor) -> Tensor:
        """See `Past`."""
        return self.histories[name].extend(x, self.active)
