"""A codec that makes sound as loud as it is told, whatever the codes."""

from __future__ import annotations

from typing import Any

import torch

FRAME = 1920
"""Samples."""


class FakeDecoder:
    """Sound as loud as it is told, that remembers the codes it was made of."""

    def __init__(self, loudness: float = 0.5) -> None:
        self.loudness = loudness
        self.codes: list[Any] = []

    def alloc(self, slots: int) -> None:
        return None

    def step(self, state: None, x: Any, active: Any) -> Any:
        self.codes.append(x)
        return torch.full((1, x.shape[2] * FRAME), self.loudness)
