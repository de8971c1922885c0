"""A teacher without voices: tones that come out an octave higher. Ears that measure tones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backtalk.train.conversion.make_pairs import make_pairs
from backtalk.train.conversion.teacher import Pair, ShardPlan

RATE = 16_000


def tone(hz: float, seconds: float) -> np.ndarray:
    """With its harmonics up to the fifth; float32."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    waves = [np.sin(2 * np.pi * hz * n * time_s) / n for n in range(1, 6)]
    return (0.2 * np.sum(waves, axis=0)).astype(np.float32)


@dataclass(frozen=True)
class ToneTeacher:
    """As many pairs of `seconds` as are asked for."""

    seconds: float = 0.5
    target = "tones"

    @property
    def samples(self) -> str:
        return f"tones of {self.seconds} s"

    def pairs(self, plan: ShardPlan) -> Iterator[Pair]:
        random = np.random.default_rng([plan.seed, plan.number, len(plan.split)])
        while True:
            hz = random.uniform(90, 200)
            yield Pair(tone(hz, self.seconds), tone(2 * hz, self.seconds), "low", "one two")


@dataclass(frozen=True)
class DyingTeacher(ToneTeacher):
    """Fails on its second shard to learn from."""

    def pairs(self, plan: ShardPlan) -> Iterator[Pair]:
        if plan.split == "train" and plan.number == 1:
            raise OSError(28, "No space left on device")
        yield from super().pairs(plan)


class TonalEars:
    """The words are always right, the speaker is the spectrum."""

    def words(self, pcm: np.ndarray) -> list[str]:
        return ["one", "two"]

    def speaker(self, pcm: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(pcm, 1024)) + 1e-9
        unit: np.ndarray = power / np.linalg.norm(power)
        return unit

    def quality(self, pcm: np.ndarray) -> float:
        return 3.0


def make_tones(folder: Path, hours: float = 0.01) -> Path:
    make_pairs(folder, ToneTeacher(), hours, 0, 1, lambda done, total: None)
    return folder
