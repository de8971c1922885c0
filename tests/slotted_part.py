"""A part with state, as the streaming checker holds it: it hands masks as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class SlottedPart:
    """A network or a layer with `alloc`, `reset` and `step`, with numpy masks."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def alloc(self, slots: int) -> Any:
        return self.part.alloc(slots)

    def reset(self, state: Any, mask: np.ndarray) -> None:
        self.part.reset(state, torch.from_numpy(mask))

    def step(self, state: Any, x: Any, active: np.ndarray) -> Any:
        return self.part.step(state, x, torch.from_numpy(active)).numpy()
