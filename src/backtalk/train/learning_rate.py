"""The learning rate as a function of the step, so that nothing has to remember it."""

from __future__ import annotations

import math
from typing import Any


def rate_share(step: int, steps: int, warm_up_steps: int, final_share: float) -> float:
    """Up in a line, then down along half a cosine.

    Args:
        step: 0 or more.
        steps: of the training, in all.
        warm_up_steps: until the full rate is reached.
        final_share: what is left of it in the end.
    Returns:
        What part of the full rate to use, 0..1.
    """
    if step < warm_up_steps:
        return (step + 1) / (warm_up_steps + 1)
    done = (step - warm_up_steps) / max(1, steps - warm_up_steps)
    return final_share + (1 - final_share) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def set_rate(optimizer: Any, rate: float) -> None:
    """Use it for the next step of a PyTorch optimizer."""
    for group in optimizer.param_groups:
        group["lr"] = rate
