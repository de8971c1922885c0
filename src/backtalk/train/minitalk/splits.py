"""Which split a combination belongs to: a hash decides, once and for all corpora.

Whatever the seed, a combination that one corpus holds out is held out by all, so that a model
trained on one may be tested on another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, get_args

from backtalk.train.minitalk.turn import Dialogue, Turn

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

TEST_SHARE = 0.10
VALID_SHARE = 0.05


def combination_split(combination: str) -> Split:
    """The one split whose turns may be about this combination first."""
    digest = hashlib.sha256(combination.encode()).digest()
    at = int.from_bytes(digest[:8], "big") / 2**64
    if at < TEST_SHARE:
        return "test"
    return "valid" if at < TEST_SHARE + VALID_SHARE else "train"


def turn_split(turn: Turn) -> Split:
    """`test` if any of its combinations is held out for testing, else likewise `valid`."""
    return _strictest(combination_split(name) for name in turn.combinations)


def dialogue_split(dialogue: Dialogue) -> Split:
    """The strictest split of its turns: in `train`, nothing at all is held out."""
    return _strictest(turn_split(turn) for turn in dialogue.turns)


def _strictest(splits: Iterable[Split]) -> Split:
    found = set(splits)
    if "test" in found:
        return "test"
    return "valid" if "valid" in found else "train"
