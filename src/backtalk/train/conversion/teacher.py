"""Who makes the pairs: anything that can say what should come out for what goes in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from backtalk.llvc.config import SAMPLE_RATE

Split = Literal["train", "held-out"]
SPLITS: tuple[Split, ...] = ("train", "held-out")


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One utterance by two speakers, sample for sample at the same time.

    Attributes:
        heard: float32 [T] at 16 kHz, somebody.
        said: float32 [T], the target saying the same, at the same moment, with the same melody.
        voice: name of who is heard.
        text: the words; empty if nobody knows them.
    """

    heard: np.ndarray = field(repr=False)
    said: np.ndarray = field(repr=False)
    voice: str
    text: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.heard.size / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One file of pairs to make.

    Attributes:
        number: from 0, within the split.
        shards: of the split, in all.
        seconds: of speech wanted.
        seed: of everything that is drawn.
    """

    split: Split
    number: int
    shards: int
    seconds: float
    seed: int

    @property
    def name(self) -> str:
        """Its file name without a suffix."""
        return f"{self.split}-{self.number:04d}"


class Teacher(Protocol):
    """A value without open files or loaded models: it is sent to the processes that make shards."""

    @property
    def target(self) -> str:
        """Whose voice the pairs teach, in a line: for the card."""
        ...

    @property
    def samples(self) -> str:
        """What it is asked for, in a line: teachers that say the same make the same pairs."""
        ...

    def pairs(self, plan: ShardPlan) -> Iterator[Pair]:
        """Pairs for a shard, for as long as somebody asks; the same every time.

        Raises:
            BacktalkError: a voice or a model is missing, or failed.
        """
        ...
