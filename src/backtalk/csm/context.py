"""One row's past: positions taken in, the frame that is pending, copies of it, and forgetting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backtalk.csm.model import CsmModel, CsmState
from backtalk.csm.prompt import Positions

CHUNK_POSITIONS = 256
"""Positions taken in at once: bounds the memory of a long prompt."""

SPANS = (64, 128, 256, 512, 1024)
"""Places that attention reads, so that a young row is not charged for an old one's length."""


def span_of(model: CsmModel, length: int) -> int:
    """The fewest places, of a few sizes, that hold `length` positions."""
    for span in SPANS:
        if length <= span < model.config.backbone.max_positions:
            return span
    return model.config.backbone.max_positions


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A row's past as it was, to begin others from.

    Attributes:
        length: positions taken in.
        keys, values: of each layer, [length, kv_heads, Dh].
        pending: [1, D], or None if nothing was pending.
    """

    length: int
    keys: list[Tensor]
    values: list[Tensor]
    pending: Tensor | None


class RowContext:
    """The past of the only row of a state.

    Args:
        model: read-only.
        fill: see `CsmModel.embed_codes`.
    """

    def __init__(self, model: CsmModel, fill: Tensor | None = None) -> None:
        self._model, self._fill = model, fill
        self.state: CsmState = model.alloc(1)
        self.active = torch.ones(1, dtype=torch.bool, device=model.device)
        self.length = 0
        self._is_pending = False

    @property
    def room(self) -> int:
        """Positions that still fit."""
        taken = self.length + self._is_pending
        return self._model.config.backbone.max_positions - taken

    def take(self, positions: Positions) -> None:
        """Put positions behind all earlier ones; the last of them stays pending."""
        x = self._embed(positions)
        if self._is_pending:
            x = torch.cat((self.state.pending[0], x))
        for chunk in torch.split(x[:-1], CHUNK_POSITIONS):
            self.length += chunk.shape[0]
            self._model.take(self.state, chunk[None], self.active, self.span(self.length))
        self.state.pending.copy_(x[None, -1:])
        self._is_pending = True

    def span(self, length: int) -> int:
        """See `span_of`."""
        return span_of(self._model, length)

    def frame_was_drawn(self) -> None:
        """Count the position that the model's step took in; its frame is pending now."""
        self.length += 1

    def forget(self) -> None:
        """Begin anew."""
        self._model.reset(self.state, self.active)
        self.length, self._is_pending = 0, False

    def snapshot(self) -> Snapshot:
        """A copy of everything up to here."""
        caches = self.state.backbone.caches
        return Snapshot(
            self.length,
            [cache.keys[0, : self.length].clone() for cache in caches],
            [cache.values[0, : self.length].clone() for cache in caches],
            self.state.pending[0].clone() if self._is_pending else None,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot, of this or of another row."""
        self.forget()
        layers = zip(self.state.backbone.caches, snapshot.keys, snapshot.values, strict=True)
        for cache, keys, values in layers:
            cache.keys[0, : snapshot.length] = keys
            cache.values[0, : snapshot.length] = values
        self.state.backbone.position.fill_(snapshot.length)
        self.length = snapshot.length
        if snapshot.pending is not None:
            self.state.pending[0] = snapshot.pending
            self._is_pending = True

    def _embed(self, positions: Positions) -> Tensor:
        """[L, D]. A position is text or sound, and of sound the first codebooks count."""
        frames = positions.frames.to(self._model.device)
        depths = positions.mask[:, :-1].sum(dim=1)
        rows = []
        for start, stop in _stretches(depths):
            depth = int(depths[start])
            if depth:
                rows.append(self._model.embed_codes(frames[start:stop, :depth], self._fill))
            else:
                rows.append(self._model.embed_text(frames[start:stop, -1]))
        return torch.cat(rows)


def _stretches(depths: Tensor) -> list[tuple[int, int]]:
    """Where runs of equal depth begin and end."""
    changes = (depths[1:] != depths[:-1]).nonzero().flatten().add(1).tolist()
    edges = [0, *changes, len(depths)]
    return list(zip(edges[:-1], edges[1:], strict=True))
