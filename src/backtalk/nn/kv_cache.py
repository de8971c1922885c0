"""Keys and values of the past, in memory that is all there from the start.

A cache has a fixed number of places. Where attention looks back without bound they are as many as
the positions a row may ever have. Where a window bounds it, they are a ring: a position is written
over once nobody looks back at it any more. There is one place more than that: rows that sit out
write there, so that one operation without a branch serves all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class KvCache:
    """Keys and values of one layer.

    Attributes:
        keys, values: [slots, places + 1, kv_heads, Dh]; the last place holds nothing of use.
    """

    keys: Tensor
    values: Tensor


def alloc_kv(
    slots: int, places: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
) -> KvCache:
    """An empty cache."""
    shape = (slots, places + 1, kv_heads, head_dim)
    return KvCache(
        torch.zeros(shape, dtype=dtype, device=device),
        torch.zeros(shape, dtype=dtype, device=device),
    )


def write_kv(cache: KvCache, keys: Tensor, values: Tensor, rows: Tensor, places: Tensor) -> None:
    """Put T new positions into every row.

    Args:
        keys, values: [slots, T, kv_heads, Dh].
        rows: int64 [slots, 1].
        places: int64 [slots, T], the last place for rows that sit out.
    """
    cache.keys.index_put_((rows, places), keys)
    cache.values.index_put_((rows, places), values)


def ring_places(window: int, longest_step: int) -> int:
    """Places a ring needs for `window` positions of look-back.

    The T positions of a step are written before the first of them has looked back.
    """
    return window + longest_step - 1


def places_of(positions: Tensor, places: int, active: Tensor) -> Tensor:
    """Where positions int64 [slots, T] are written in rings of `places`; int64 [slots, T]."""
    return torch.where(active[:, None], positions % places, places)


def visible(positions: Tensor, places: int, span: int, window: int | None) -> Tensor:
    """Which places each new position may look at.

    Args:
        positions: int64 [slots, T], consecutive; just written.
        places: of the ring.
        span: places that attention reads, counted from the first; below `places` only where
            the caller knows that no row has more positions.
        window: positions of look-back, the own one included; None for all.
    Returns:
        bool [slots, 1, T, span].
    """
    newest = positions[:, -1:]
    place = torch.arange(span, device=positions.device)
    held = newest - (newest - place) % places  # the position that a place holds, < 0 if none yet
    held = held[:, None, :]
    can_see = (held >= 0) & (held <= positions[:, :, None])
    if window is not None:
        can_see &= held > positions[:, :, None] - window
    return can_see[:, None]
