"""A watcher of a training run that kills it at a step, as a lost machine would."""

from __future__ import annotations

from collections.abc import Mapping


class Watching:
    """Remembers where the run began; raises InterruptedError when step `killed_at` is done."""

    def __init__(self, killed_at: int = -1) -> None:
        self.killed_at = killed_at

    def begin(self, first_step: int, steps: int) -> None:
        self.first_step = first_step

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.killed_at:
            raise InterruptedError
