"""The losses between a generator and its judges as HiFi-GAN has them (arXiv 2010.05646, 2.3).

Least squares (arXiv 1611.04076), and how differently the judges see both. Judges are added up, not
averaged, as the published weights of the losses expect.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backtalk.nn.adversarial_losses import Seen


def judging_loss(real: Seen, made: Seen) -> Tensor:
    """Of the judges: verdicts on real sound should be 1, on made sound 0; scalar."""
    losses = [
        (1 - r[-1]).square().mean() + m[-1].square().mean() for r, m in zip(real, made, strict=True)
    ]
    return torch.stack(losses).sum()


def deceiving_loss(made: Seen) -> Tensor:
    """Of the generator: verdicts on what it made should be 1; scalar."""
    return torch.stack([(1 - m[-1]).square().mean() for m in made]).sum()


def feature_distance(real: Seen, made: Seen) -> Tensor:
    """Mean absolute difference of what every layer sees, verdicts included; scalar."""
    distances = [
        (m - r.detach()).abs().mean()
        for judge_real, judge_made in zip(real, made, strict=True)
        for r, m in zip(judge_real, judge_made, strict=True)
    ]
    return torch.stack(distances).sum()
