"""The last rows of something, per slot: all that a causal layer with a finite view remembers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class History:
    """A memory of fixed length.

    Attributes:
        held: `[slots, length, width]`, the newest row last.
        fresh: `[length, width]`, what a slot holds before its stream begins.
    """

    held: Tensor
    fresh: Tensor

    @classmethod
    def of(cls, slots: int, fresh: Tensor) -> History:
        """A memory of `slots` streams that have not begun."""
        return cls(fresh.expand(slots, -1, -1).clone(), fresh)

    def reset(self, mask: Tensor) -> None:
        """Make the slots where `mask` (bool `[slots]`) is True as good as new."""
        torch.where(mask[:, None, None], self.fresh, self.held, out=self.held)

    def extend(self, x: Tensor, active: Tensor) -> Tensor:
        """Memory and `x` joined, `[slots, length + T, width]`; then remember its end.

        Args:
            x: `[slots, T, width]`.
            active: bool `[slots]`; the memory of other slots stays as it is.
        """
        length = self.held.shape[1]
        joined = torch.cat((self.held, x), dim=1)
        newest = joined[:, joined.shape[1] - length :]
        torch.where(active[:, None, None], newest, self.held, out=self.held)
        return joined
