"""One seed per step, so that a run that is resumed draws what it would have drawn."""

from __future__ import annotations

import numpy as np


def step_random(seed: int, step: int, device: int, use: str) -> np.random.Generator:
    """A generator that depends on these and nothing else.

    Args:
        seed: of the run.
        step: of the training, 0 or more.
        device: number of the device, so that devices learn from different data.
        use: what it is for, so that two uses do not draw the same.
    """
    return np.random.default_rng([seed, step, device, *use.encode()])


def seed_torch(seed: int, step: int, device: int) -> None:
    """Seed PyTorch's global generators, on every device, for a step."""
    import torch

    drawn = step_random(seed, step, device, "torch").integers(2**63 - 1)
    torch.manual_seed(int(drawn))
