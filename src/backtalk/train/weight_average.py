"""A running average of a model's weights: calmer than the weights themselves."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class WeightAverage(Generic[M]):
    """A copy of a model that follows it.

    Attributes:
        model: the copy; its buffers are the model's, its weights the average.

    Args:
        model: on the device where it is trained.
        decay: of the average, per step.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: M) -> None:
        """Take a step towards the model."""
        for mine, theirs in zip(self.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 1 - self.decay)
        for held, now in zip(self.model.buffers(), model.buffers(), strict=True):
            held.copy_(now)
