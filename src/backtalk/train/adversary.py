"""Judges that learn to tell real sound from made, and what they say as losses of who makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from backtalk.nn import adversarial_losses, least_squares_losses
from backtalk.nn.adversarial_losses import Seen
from backtalk.train.learning_rate import set_rate
from backtalk.train.training import Stateful

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, slots=True)
class Rules:
    """The losses between a generator and its judges; all scalars.

    Attributes:
        judging: of the judges, from what they see of real and of made sound.
        deceiving: of the generator, from what they see of made sound.
        features: how differently they see both.
    """

    judging: Callable[[Seen, Seen], Tensor]
    deceiving: Callable[[Seen], Tensor]
    features: Callable[[Seen, Seen], Tensor]


HINGE = Rules(
    adversarial_losses.judging_loss,
    adversarial_losses.deceiving_loss,
    adversarial_losses.feature_distance,
)
LEAST_SQUARES = Rules(
    least_squares_losses.judging_loss,
    least_squares_losses.deceiving_loss,
    least_squares_losses.feature_distance,
)


def random_slice(length: int, part: int, step: int = 1) -> slice:
    """Where judges listen, who are too slow to hear all: `part` of `length` samples.

    Args:
        step: that it begins at multiples of.
    """
    first = step * int(torch.randint((length - part) // step + 1, ()))
    return slice(first, first + part)


class Adversary:
    """The judges in training.

    Args:
        judges: sound, float [B, T], to what every judge's layers make of it, the verdict last.
        rules: their losses.
        learning_rate, betas: of AdamW, without weight decay.
    """

    def __init__(
        self,
        judges: nn.Module,
        rules: Rules,
        learning_rate: float,
        betas: tuple[float, float],
        fabric: Fabric,
    ) -> None:
        self.judges, self.rules, self.fabric = judges, rules, fabric
        self._learning_rate = learning_rate
        self._optimizer = torch.optim.AdamW(
            judges.parameters(), learning_rate, betas, weight_decay=0.0
        )
        self._run, self._steps = fabric.setup(judges, self._optimizer)

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """Everything that the next step depends on."""
        return {"judges": self.judges, "judge_optimizer": self._optimizer}

    def set_rate(self, share: float) -> None:
        """Learn at this share of the learning rate from now on."""
        set_rate(self._optimizer, self._learning_rate * share)

    def teach(self, real: Tensor, made: Tensor) -> Tensor:
        """Let the judges learn from float [B, T] each; their loss. `made` must be detached."""
        seen = self._run(torch.cat((real, made)))
        halves = [[layer.chunk(2) for layer in judge] for judge in seen]
        loss = self.rules.judging(
            [[half[0] for half in judge] for judge in halves],
            [[half[1] for half in judge] for judge in halves],
        )
        self.fabric.backward(loss)
        self._steps.step()
        self._steps.zero_grad()
        return loss.detach()

    def judge(self, real: Tensor, made: Tensor) -> dict[str, Tensor]:
        """What the judges say, as losses of who made `made`; they learn nothing from it."""
        self.judges.requires_grad_(False)
        with self.fabric.autocast():
            with torch.no_grad():
                seen_real = self.judges(real)
            seen_made = self.judges(made)
        losses = {
            "adversarial": self.rules.deceiving(seen_made),
            "features": self.rules.features(seen_real, seen_made),
        }
        self.judges.requires_grad_(True)
        return losses
