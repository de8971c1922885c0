"""The decoder: a transformer layer whose attention sees a chunk and the frames before it.

Inside a chunk frames see each other's future, so that the chunk is what the network waits for;
across chunks only the past is seen (arXiv 2211.02250, 3.2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.llvc.config import HEADS, LlvcConfig
from backtalk.llvc.folded import position_table
from backtalk.llvc.past import Past
from backtalk.nn.norm import LayerNorm


class WindowedAttention(nn.Module):
    """Queries of a chunk over keys and values of its window.

    Keys and values are made before positions are added, so that a frame's are made once and not
    again when it has become context; what a position adds to them is added per window.

    Args:
        config: sizes.
        name: of its history.
        has_query_positions: whether queries know where they are.
    """

    def __init__(self, config: LlvcConfig, name: str, has_query_positions: bool) -> None:
        super().__init__()
        width = config.decoder_width
        self.name = name
        self.width = width
        self.chunk, self.window = config.chunk_frames, config.window_frames
        self.has_query_positions = has_query_positions
        self.projection = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, past: Past, x: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        """Attend.

        Args:
            past: holds the keys and values of the frames before, without positions.
            x: [B, T, D], T a multiple of the chunk; what asks.
            memory: [B, T, D], what is looked at.
            positions: [window, D].
        Returns:
            [B, T, D].
        """
        query_matrix, kv_matrix = torch.split(self.projection.weight, [self.width, 2 * self.width])
        query_bias, kv_bias = torch.split(self.projection.bias, [self.width, 2 * self.width])
        keys_values = past.join(self.name, F.linear(memory, kv_matrix))
        windows = keys_values.unfold(1, self.window, self.chunk).transpose(2, 3)
        windows = windows + F.linear(positions, kv_matrix, kv_bias)
        keys, values = windows.chunk(2, dim=-1)
        queries = torch.unflatten(x, 1, (-1, self.chunk))
        if self.has_query_positions:
            queries = queries + positions[-self.chunk :]
        queries = F.linear(queries, query_matrix, query_bias)
        found = F.scaled_dot_product_attention(_heads(queries), _heads(keys), _heads(values))
        return self.out(found.transpose(2, 3).flatten(3).flatten(1, 2))


class ChunkedDecoder(nn.Module):
    """Self-attention over the target, attention over the memory, feed-forward; norms after each."""

    positions: Tensor

    def __init__(self, config: LlvcConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.chunk = config.chunk_frames
        self.hearing = WindowedAttention(config, "self", has_query_positions=True)
        self.looking = WindowedAttention(config, "cross", has_query_positions=False)
        self.up = nn.Linear(width, config.hidden)
        self.down = nn.Linear(config.hidden, width)
        self.norms = nn.ModuleList(LayerNorm(width) for _ in range(3))
        table = torch.from_numpy(position_table(config.window_frames, width))
        self.register_buffer("positions", table, persistent=False)

    def set_chunk(self, config: LlvcConfig) -> None:
        """Attend in chunks of another size. No weight depends on it."""
        self.chunk = config.chunk_frames
        for attention in (self.hearing, self.looking):
            attention.chunk, attention.window = config.chunk_frames, config.window_frames
        table = torch.from_numpy(position_table(config.window_frames, config.decoder_width))
        self.positions = table.to(self.positions)

    def forward(self, past: Past, target: Tensor, memory: Tensor) -> Tensor:
        """[B, T, D] and [B, T, D] to [B, T, D]; a last chunk that is not full ends in zeros."""
        frames = target.shape[1]
        missing = (0, 0, 0, -frames % self.chunk)
        target, memory = F.pad(target, missing), F.pad(memory, missing)
        chunks = target.shape[1] // self.chunk
        x = target + self.positions[-self.chunk :].repeat(chunks, 1)
        x = self.norms[0](x + self.hearing(past, target, target, self.positions))
        x = self.norms[1](x + self.looking(past, x, memory, self.positions))
        x = self.norms[2](x + self.down(F.relu(self.up(x))))
        return x[:, :frames]


def _heads(x: Tensor) -> Tensor:
    """[B, chunks, T, D] to [B, chunks, heads, T, D / heads]."""
    return torch.unflatten(x, -1, (HEADS, -1)).transpose(2, 3)
