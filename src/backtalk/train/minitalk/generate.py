"""Makes a corpus: what is missing of it, in parallel, and checks what has come out."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backtalk.models.disk import is_disk_full, size_text
from backtalk.train.minitalk.card import Contents, card_text, count_contents
from backtalk.train.minitalk.corpus import Corpus, begin_corpus, write_whole
from backtalk.train.minitalk.corpus_error import CorpusError
from backtalk.train.minitalk.leaks import find_leaks
from backtalk.train.minitalk.make_shard import ShardMade, make_shard
from backtalk.train.minitalk.plan import MiniTalkSettings, ShardPlan
from backtalk.train.minitalk.shard_file import PARTIAL
from backtalk.train.minitalk.workers import run_each

CARD = "README.md"
_BYTES_PER_HOUR = 170_000_000
"""Of questions and answers together, an hour of each; a little more than was measured."""

MakeShard = Callable[[ShardPlan, Path], ShardMade]


@dataclass(frozen=True, slots=True)
class Generated:
    """What a run made and what the corpus holds now.

    Attributes:
        made: by this run; the shards that were there before are not among them.
        contents: of the whole corpus, by split.
    """

    corpus: Corpus
    made: tuple[ShardMade, ...]
    contents: dict[str, Contents]
    wall_s: float

    @property
    def times_real_time_per_core(self) -> float | None:
        """Seconds of speech per second of processor; None if nothing was to be made."""
        cpu_s = sum(shard.cpu_s for shard in self.made)
        return (
            sum(shard.question_s + shard.answer_s for shard in self.made) / cpu_s if cpu_s else None
        )


def generate(
    folder: Path,
    settings: MiniTalkSettings,
    jobs: int,
    on_shard: Callable[[ShardPlan, ShardMade], None],
    on_begin: Callable[[int, int], None] = lambda missing, planned: None,
    make: MakeShard = make_shard,
) -> Generated:
    """Make all shards that are missing, then check all of them and write the card.

    It may be stopped at any moment, by any signal: called again, it goes on.

    Args:
        jobs: processes at once.
        on_shard: told of every shard made.
        on_begin: told how many shards are missing, of how many.
        make: a function of a module.
    Raises:
        CorpusError: the folder is of no use, the disk is full, or the corpus leaks.
        BacktalkError: a voice is missing or failed.
    """
    began_s = time.monotonic()
    try:
        corpus = begin_corpus(folder, settings)
        with _alone(folder):
            made = _make_missing(corpus, jobs, on_shard, on_begin, make)
            items = list(corpus.items(with_audio=False))
            if leaks := find_leaks(items):
                raise CorpusError(
                    f"{folder} leaks: {leaks[0]} ({len(leaks)} in all); do not use it; "
                    "delete it and make it again"
                )
            contents = count_contents(items)
            write_whole(folder / CARD, card_text(corpus, contents))
    except OSError as error:
        if is_disk_full(error):
            raise CorpusError(
                f"disk full: no room in {folder}; make room and run the same command again: it "
                "goes on where it stopped"
            ) from error
        raise CorpusError(f"cannot write to {folder}: {error.strerror or error}") from error
    return Generated(corpus, tuple(made), contents, time.monotonic() - began_s)


def _make_missing(
    corpus: Corpus,
    jobs: int,
    on_shard: Callable[[ShardPlan, ShardMade], None],
    on_begin: Callable[[int, int], None],
    make: MakeShard,
) -> list[ShardMade]:
    for left in corpus.folder.glob(f"*{PARTIAL}"):
        left.unlink(missing_ok=True)
    missing = corpus.missing()
    _need_room(corpus, len(missing) / len(corpus.plans))
    on_begin(len(missing), len(corpus.plans))
    made = []
    work = [(plan, corpus.path_of(plan)) for plan in missing]
    for number, result in run_each(make, work, jobs):
        made.append(result)
        on_shard(missing[number], result)
    return made


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system frees it when a process dies."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise CorpusError(
            f"another process is making {folder}; wait for it, or give another folder"
        ) from None


def _need_room(corpus: Corpus, share: float) -> None:
    """Refuse early what would not fit."""
    need_bytes = round(corpus.settings.hours * share * _BYTES_PER_HOUR)
    free_bytes = shutil.disk_usage(corpus.folder).free
    if free_bytes < need_bytes:
        raise CorpusError(
            f"disk full: the corpus needs about {size_text(need_bytes)} more in {corpus.folder}, "
            f"{size_text(free_bytes)} are free; make room, or give another folder or fewer --hours"
        )
