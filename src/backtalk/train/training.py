"""What the harness needs of a model in training, and the settings every recipe has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Batch = Mapping[str, Any]
"""Tensors on the CPU, by name, equal in their first dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What every recipe's settings begin with; the values are in the recipe's YAML file.

    Attributes:
        seed: of weights, data and everything drawn in a step.
        steps: of training, in all.
        log_every: steps between two lines of `losses.jsonl`.
        score_every: steps between two scorings on held-out data.
        checkpoint_every: steps between two checkpoints.
        workers: processes that prepare data; 0 for none of their own.
    """

    seed: int
    steps: int
    log_every: int
    score_every: int
    checkpoint_every: int
    workers: int

    def __post_init__(self) -> None:
        """Refuse what no run can have.

        Raises:
            ConfigError: a count is too small.
        """
        least = {"steps": 1, "log_every": 1, "score_every": 1, "checkpoint_every": 1, "workers": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be {value} or more")


class Stateful(Protocol):
    """A module or an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Training(Protocol):
    """A model in training.

    Before it is made, and before `step` and `score`, PyTorch's global generators are seeded from
    the run's seed and the number of the step, so what they draw depends on nothing else.
    """

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """Everything that must be as it was for the next step to be the same."""
        ...

    def batch(self, step: int) -> Batch:
        """The data of a step, the same every time; called in worker processes too."""
        ...

    def step(self, step: int, batch: Batch) -> Mapping[str, Tensor]:
        """Learn from a batch, which lies on the device; return scalars to be plotted."""
        ...

    def score(self) -> Mapping[str, float]:
        """How good the model is now on data it never learns from."""
        ...

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The tensors to ship, in the type to ship them in, and the file's metadata."""
        ...

    def describe_data(self) -> str:
        """One line for the model card: what it learned from, how much of it."""
        ...
