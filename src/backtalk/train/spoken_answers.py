"""The answers of a MiniTalk corpus as codes, shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from backtalk.train.minitalk.corpus import Corpus
from backtalk.train.minitalk.shard_file import read_shard
from backtalk.train.minitalk.splits import Split
from backtalk.train.spoken_codes import CodeStore, Said, SpokenCodes, joined
from backtalk.train.training_error import TrainingError


def answer_codes(store: CodeStore, corpus: Corpus, split: Split, hours: float) -> SpokenCodes:
    """The answers of a split, whole shards until there are enough.

    Args:
        corpus: complete or not; shards that are missing are left out.
        hours: of speech, at least, if there are as many.
    Raises:
        TrainingError: the split has no shard yet; and see `CodeStore.shard`.
        CorpusError: a shard is damaged.
    """
    made_from = {"corpus": {**corpus.settings.as_dict(), "texts": corpus.made_with.get("texts")}}
    wanted_frames = hours * 3600 * store.frame_rate
    shards: list[SpokenCodes] = []
    for plan in corpus.made(split):
        path = corpus.path_of(plan)
        shards.append(store.shard(plan.name, made_from, partial(_answers, path)))
        if sum(len(shard.codes) for shard in shards) >= wanted_frames:
            break
    if not shards:
        raise TrainingError(f"{corpus.folder} has no shard of {split} yet; make the corpus first")
    return joined(shards)


def _answers(path: Path) -> Iterator[Said]:
    for item in read_shard(path):
        for turn in item.turns:
            yield Said(turn.answer.text, *turn.answer.pcm())
