"""The losses between a generator and its judges: hinge, and distance between what judges see.

Source: EnCodec (arXiv 2210.13438, section 3.4), hinge loss from arXiv 1705.02894.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Seen = list[list[Tensor]]
"""Of every judge: what its layers made of the sound, the verdict last."""


def judging_loss(real: Seen, made: Seen) -> Tensor:
    """Of the judges: verdicts on real sound should be above 1, on made sound below -1; scalar."""
    losses = [
        F.relu(1 - r[-1]).mean() + F.relu(1 + m[-1]).mean() for r, m in zip(real, made, strict=True)
    ]
    return torch.stack(losses).mean()


def deceiving_loss(made: Seen) -> Tensor:
    """Of the generator: verdicts on what it made should be above 1; scalar."""
    return torch.stack([F.relu(1 - m[-1]).mean() for m in made]).mean()


def feature_distance(real: Seen, made: Seen) -> Tensor:
    """How differently the judges see both, relative to what they see in the real sound; scalar."""
    distances = [
        (m - r.detach()).abs().mean() / r.detach().abs().mean().clamp(min=1e-8)
        for scale_real, scale_made in zip(real, made, strict=True)
        for r, m in zip(scale_real[:-1], scale_made[:-1], strict=True)
    ]
    return torch.stack(distances).mean()
