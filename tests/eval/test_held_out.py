"""Which questions of a corpus are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from backtalk.errors import ConfigError
from backtalk.eval.held_out import held_out_count, read_held_out
from backtalk.train.minitalk.corpus import begin_corpus
from backtalk.train.minitalk.corpus_error import CorpusError
from backtalk.train.minitalk.plan import MiniTalkSettings
from train.fake_shards import make_fake


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "minitalk"
    made = begin_corpus(folder, MiniTalkSettings(hours=0.04, seed=0))
    for plan in made.missing():
        make_fake(plan, made.path_of(plan))
    return folder


def test_only_dialogues_of_the_test_split_are_asked(corpus: Path) -> None:
    _, items = read_held_out(corpus, 5)
    assert 5 <= held_out_count(items) <= 7
    assert all(item.split == "test" for item in items)
    assert all(spoken.question.flac for item in items for spoken in item.turns)


def test_the_same_questions_are_asked_again(corpus: Path) -> None:
    first, second = (read_held_out(corpus, 5)[1] for _ in range(2))
    assert [item.name for item in first] == [item.name for item in second]


def test_more_questions_than_there_are_is_an_error_that_says_how_many(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"has only \d+ held-out questions"):
        read_held_out(corpus, 100_000)
    with pytest.raises(ConfigError, match="give 1 or more"):
        read_held_out(corpus, 0)


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no MiniTalk corpus"):
        read_held_out(tmp_path, 5)


def test_a_corpus_without_its_test_shard_says_how_to_finish_it(tmp_path: Path) -> None:
    begin_corpus(tmp_path / "new", MiniTalkSettings(hours=0.04, seed=7))
    with pytest.raises(CorpusError, match=r"--hours 0\.04 --seed 7"):
        read_held_out(tmp_path / "new", 5)
