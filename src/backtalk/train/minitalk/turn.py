"""A question, its answer, and what has to be held out to ask it fairly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer.

    Attributes:
        task: which part of the grammar asks.
        question: words to be spoken, no digits.
        answer: words to be spoken, no digits.
        key: the words of the answer that make it right, in lower case.
        combinations: what is put together here, such as `sum:plus:7:12`. A model has been taught
            the parts; whether it was taught this combination is what splits decide.
    """

    task: str
    question: str
    answer: str
    key: str
    combinations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One to three turns by one user voice; later turns may lean on earlier ones.

    Attributes:
        voice: name of the user's voice, see `voices.py`.
    """

    voice: str
    turns: tuple[Turn, ...]
