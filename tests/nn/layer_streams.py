"""Layers whose samples lie channels last, as the checker wants to hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class LayerStream:
    """One slot, fed pieces of any number of steps: x is [steps, inputs per step, channels]."""

    def __init__(self, layer: Any) -> None:
        self.layer, self.state = layer, layer.alloc(1)

    def push(self, x: Any) -> Any:
        if not len(x):
            return np.zeros((0, 1, 1))
        y = self.layer.step(self.state, x.flatten(0, 1)[None], torch.tensor([True]))[0]
        return y.unflatten(0, (len(x), -1)).numpy()

    def flush(self) -> Any:
        return np.zeros((0, 1, 1))


class SlottedLayer:
    """A layer with numpy masks, as the checker hands them."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def alloc(self, slots: int) -> Any:
        return self.layer.alloc(slots)

    def reset(self, state: Any, mask: np.ndarray) -> None:
        self.layer.reset(state, torch.from_numpy(mask))

    def step(self, state: Any, x: Any, active: np.ndarray) -> Any:
        return self.layer.step(state, x, torch.from_numpy(active)).numpy()
