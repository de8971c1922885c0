"""Grouped-query attention over what has been heard so far.

Several query heads share a key and value head (arXiv 2305.13245). The heads of a group are laid
along the query axis, so that keys and values are never expanded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.nn.kv_cache import KvCache, write_kv
from backtalk.nn.linear import Linear
from backtalk.nn.rope import rotate


@dataclass(frozen=True, slots=True)
class Place:
    """Where the T positions of a step stand; made once per step, used by every layer.

    Attributes:
        turns: float32 [slots or 1, T, 1, Dh/2, 2], rotary turns.
        rows: int64 [slots, 1].
        places: int64 [slots, T], where keys and values are written.
        span: places that attention reads, from the first.
        bias: float [slots or 1, 1, T * group, span], 0 or -inf, added to the scores.
    """

    turns: Tensor
    rows: Tensor
    places: Tensor
    span: int
    bias: Tensor


class Attention(nn.Module):
    """Queries, keys and values from one matrix; rotary positions; no biases.

    Args:
        width: D.
        heads, kv_heads: query heads and key/value heads, the first a multiple of the second.
        head_dim: Dh.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.group = heads // kv_heads
        self.qkv = Linear(width, (heads + 2 * kv_heads) * head_dim)
        self.out = Linear(heads * head_dim, width)

    def forward(self, x: Tensor, turns: Tensor, bias: Tensor) -> Tensor:
        """All positions at once, without a past.

        Args:
            x: [B, T, D].
            turns: float32 [1, T, 1, Dh/2, 2].
            bias: [1, 1, T * group, T], 0 or -inf.
        """
        queries, keys, values = self._project(x, turns)
        return self._attend(queries, keys, values, bias)

    def step(self, cache: KvCache, x: Tensor, place: Place) -> Tensor:
        """The next T positions of every row: [slots, T, D] to [slots, T, D]."""
        queries, keys, values = self._project(x, place.turns)
        write_kv(cache, keys, values, place.rows, place.places)
        past_keys, past_values = cache.keys[:, : place.span], cache.values[:, : place.span]
        return self._attend(queries, past_keys, past_values, place.bias)

    def _project(self, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turned queries and keys, and values: [B, T, heads, Dh] each."""
        heads = torch.unflatten(self.qkv(x), -1, (-1, self.head_dim))
        queries_keys, values = torch.split(
            heads, [self.heads + self.kv_heads, self.kv_heads], dim=2
        )
        turned = rotate(queries_keys, turns)
        queries, keys = torch.split(turned, [self.heads, self.kv_heads], dim=2)
        return queries, keys, values

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        slots, steps = queries.shape[:2]
        grouped = torch.unflatten(queries, 2, (self.kv_heads, self.group)).transpose(1, 2)
        found = F.scaled_dot_product_attention(
            grouped.reshape(slots, self.kv_heads, steps * self.group, self.head_dim),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=bias,
        )
        found = found.view(slots, self.kv_heads, steps, self.group, self.head_dim)
        return self.out(found.transpose(1, 2).reshape(slots, steps, -1))
