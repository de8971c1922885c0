"""A recipe that learns a line, with everything that makes a run hard to repeat: random data, noise
drawn in the step, and an optimizer with a memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backtalk.train.seeding import step_random
from backtalk.train.training import RunSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RunSettings):
    learning_rate: float
    noise: float


class Toy:
    """The model in training."""

    def __init__(self, settings: Settings, fabric: Any) -> None:
        self.settings, self.fabric = settings, fabric
        self.model = torch.nn.Linear(3, 1)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), settings.learning_rate)
        self._model, self._optimizer = fabric.setup(self.model, self.optimizer)
        self.steps_done: list[int] = []

    @property
    def parts(self) -> Mapping[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer}

    def batch(self, step: int) -> Mapping[str, Any]:
        x = step_random(self.settings.seed, step, 0, "data").normal(size=(8, 3))
        return {"x": x.astype(np.float32)}

    def step(self, step: int, batch: Mapping[str, Any]) -> Mapping[str, torch.Tensor]:
        x = torch.as_tensor(batch["x"])
        noisy = x + self.settings.noise * torch.randn_like(x)
        loss = (self._model(noisy)[:, 0] - x.sum(1)).square().mean()
        self._optimizer.zero_grad()
        self.fabric.backward(loss)
        self._optimizer.step()
        self.steps_done.append(step)
        return {"loss": loss.detach()}

    def score(self) -> Mapping[str, float]:
        return {"off_by": float((self.model.weight.detach() - 1).abs().sum())}

    def export(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        return {"weight": self.model.weight.detach().clone()}, {"recipe": "toy"}

    def describe_data(self) -> str:
        return "numbers"


def build(settings: Settings, data: Path, out: Path, fabric: Any) -> Toy:
    return Toy(settings, fabric)
