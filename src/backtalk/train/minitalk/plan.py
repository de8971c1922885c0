"""What is to be made: the shards of a corpus, and the dialogues of a shard, all from one seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from backtalk.train.minitalk.grammar import draw_dialogue
from backtalk.train.minitalk.splits import Split, dialogue_split
from backtalk.train.minitalk.turn import Dialogue
from backtalk.train.minitalk.voices import draw_voice

DIALOGUES_PER_SHARD = 200
SUBSETS = {"test": 2.5 / 60}
"""Hours of questions, and as many of answers."""

# Seconds of answers in a dialogue of the training split (there is more of questions); a little less
# than was measured, so that a corpus is rather longer than asked for than shorter.
DIALOGUE_S = 2.45
# At least as many as make 200 held-out questions, if that is not too much of a small corpus.
_TEST, _VALID = (0.07, 240, 0.3), (0.03, 60, 0.1)


@dataclass(frozen=True, slots=True)
class MiniTalkSettings:
    """What makes one corpus differ from another.

    Attributes:
        hours: of questions, and at least as many of answers, all splits together.
        seed: of everything.
    """

    hours: float = 20.0
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One file to make: `train-0007.tar`."""

    split: Split
    number: int
    dialogues: int
    seed: int

    @property
    def name(self) -> str:
        """Its file name without `.tar`."""
        return f"{self.split}-{self.number:04d}"


def plan_shards(settings: MiniTalkSettings) -> list[ShardPlan]:
    """All shards, the small splits first, so that there is something to test with early."""
    total = math.ceil(settings.hours * 3600 / DIALOGUE_S)
    test, valid = (
        math.ceil(max(share * total, min(enough, most * total)))
        for share, enough, most in (_TEST, _VALID)
    )
    counts: dict[Split, int] = {"test": test, "valid": valid, "train": max(total - test - valid, 1)}
    return [
        ShardPlan(split, number, min(DIALOGUES_PER_SHARD, count - begin), settings.seed)
        for split, count in counts.items()
        for number, begin in enumerate(range(0, count, DIALOGUES_PER_SHARD))
    ]


def texts_fingerprint() -> str:
    """12 hex digits that change when the grammar, its words or the way to draw from them does."""
    sample = ShardPlan("train", 0, 100, 0)
    texts = [(name, dialogue) for name, dialogue, _ in plan_dialogues(sample)]
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:12]


def plan_dialogues(shard: ShardPlan) -> Iterator[tuple[str, Dialogue, Random]]:
    """The shard's dialogues: a name for each, and a generator for how it will be spoken."""
    for number in range(shard.dialogues):
        name = f"{shard.name}-{number:04d}"
        random = Random(f"{shard.seed}:{name}")
        while True:
            dialogue = draw_dialogue(random, draw_voice(random))
            if dialogue_split(dialogue) == shard.split:
                break
        yield name, dialogue, random
