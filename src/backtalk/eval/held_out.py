"""The questions of an evaluation: held-out dialogues of a corpus, whole, in its own order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from backtalk.errors import ConfigError
from backtalk.train.minitalk.corpus import Corpus
from backtalk.train.minitalk.corpus_error import CorpusError
from backtalk.train.minitalk.shard_file import Item

VOICE_SAMPLES = 20
"""Answers of the corpus that say how the answer voice sounds."""


def read_held_out(folder: Path, questions: int) -> tuple[Corpus, list[Item]]:
    """Dialogues of the test split with that many held-out questions, or a few more.

    A dialogue that asks what an earlier one asked, in the same voice, is left out.

    Raises:
        ConfigError: fewer than one question is asked for, or the corpus has fewer.
        CorpusError: the folder is no corpus, or a shard is missing or damaged.
    """
    if questions < 1:
        raise ConfigError(f"--questions {questions}: give 1 or more")
    corpus = Corpus(folder)
    if not any(corpus.path_of(plan).is_file() for plan in corpus.plans if plan.split == "test"):
        raise CorpusError(
            f"{folder} has no test shard yet; finish it with: backtalk train minitalk-data "
            f"--out {folder} --hours {corpus.settings.hours:g} --seed {corpus.settings.seed}"
        )
    chosen: list[Item] = []
    asked: set[tuple[str, ...]] = set()
    count = 0
    for item in corpus.items("test"):
        what = (item.voice, *(spoken.turn.question for spoken in item.turns))
        if what in asked:
            continue
        asked.add(what)
        chosen.append(item)
        count += held_out_count([item])
        if count >= questions:
            return corpus, chosen
    raise ConfigError(
        f"--questions {questions}: {folder} has only {count} held-out questions; "
        "ask fewer, or make a larger corpus"
    )


def held_out_count(items: Iterable[Item]) -> int:
    """How many questions of these dialogues count."""
    return sum(spoken.is_held_out for item in items for spoken in item.turns)
