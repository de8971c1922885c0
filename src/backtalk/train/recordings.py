"""The recordings of a data folder: a MiniTalk corpus, or any folder of audio files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backtalk.audio.files import read_audio
from backtalk.train.minitalk.corpus import DESCRIPTION, Corpus
from backtalk.train.training_error import TrainingError

_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff"})
_HELD_OUT_OF = 20
"""Of a folder of files, one in this many is held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One of them.

    Attributes:
        pcm: float32 [T] at `sample_rate` Hz.
    """

    name: str
    pcm: np.ndarray = field(repr=False)
    sample_rate: int


def recordings(data: Path, *, held_out: bool) -> Iterator[Recording]:
    """The recordings to learn from, or those held out, in an order that never changes.

    Args:
        data: a folder that `backtalk train minitalk-data` made, or one of audio files at any depth.
    Raises:
        TrainingError: there is no speech in it.
        BacktalkError: the corpus or a file is damaged.
    """
    if (data / DESCRIPTION).is_file():
        yield from _of_corpus(Corpus(data), held_out)
    else:
        yield from _of_folder(data, held_out)


def _of_corpus(corpus: Corpus, held_out: bool) -> Iterator[Recording]:
    for item in corpus.items("test" if held_out else "train"):
        for number, turn in enumerate(item.turns, 1):
            for side, utterance in (("question", turn.question), ("answer", turn.answer)):
                yield Recording(f"{item.name}.{number}.{side}", *utterance.pcm())


def _of_folder(data: Path, held_out: bool) -> Iterator[Recording]:
    if not data.is_dir():
        raise TrainingError(
            f"{data} is not a folder; give one of recordings, or make one with: backtalk train "
            f"minitalk-data --out {data}"
        )
    names = sorted(
        path.relative_to(data).as_posix()
        for path in data.rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.is_file()
    )
    if len(names) < 2:
        raise TrainingError(f"{data} holds {len(names)} recordings; give a folder with 2 or more")
    # By a hash, so that a file added later changes nobody else's side.
    apart = {name for name in names if _hash(name) % _HELD_OUT_OF == 0}
    if not apart or len(apart) == len(names):
        apart = {min(names, key=_hash)}
    for name in names:
        if (name in apart) == held_out:
            audio = read_audio(data / name, max_seconds=24 * 3600)
            yield Recording(name, audio.pcm, audio.sample_rate)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
