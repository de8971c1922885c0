"""`backtalk train minitalk-data`: its report, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backtalk.cli.train import app
from backtalk.errors import BacktalkError
from backtalk.train.minitalk.corpus import begin_corpus
from backtalk.train.minitalk.plan import SUBSETS, MiniTalkSettings
from train.fake_shards import make_fake


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["minitalk-data", *arguments])
    assert result.exit_code != 0
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, BacktalkError)
        return str(result.exception)
    return result.output


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The test subset, made by fake voices."""
    folder = tmp_path / "minitalk"
    corpus = begin_corpus(folder, MiniTalkSettings(round(SUBSETS["test"], 4), 0))
    for plan in corpus.missing():
        make_fake(plan, corpus.path_of(plan))
    return folder


def test_a_finished_corpus_is_checked_and_reported(finished: Path) -> None:
    result = CliRunner().invoke(
        app, ["minitalk-data", "--out", str(finished), "--subset", "test", "--json"]
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert report["shards_made"] == 0
    assert report["times_real_time_per_core"] is None
    assert report["splits"]["test"]["held_out"] == report["held_out_test"] > 10
    assert (finished / "README.md").is_file()


def test_a_finished_corpus_is_reported_in_words(finished: Path) -> None:
    result = CliRunner().invoke(app, ["minitalk-data", "--out", str(finished), "--subset", "test"])
    assert result.exit_code == 0, result.output
    assert "h of questions" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hours", "1", "--subset", "test"], "exclude each other"),
        (["--subset", "tiny"], "there is only test"),
        (["--hours", "0"], "give 0.02 to 1000"),
        (["--hours", "nan"], "give 0.02 to 1000"),
        (["--hours", "-3"], "give 0.02 to 1000"),
        (["--jobs", "0"], "give 1 to 256"),
        (["--sed", "3"], "No such option"),
        (["--seed", "x"], "Invalid value"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, arguments: list[str], words: str) -> None:
    out = tmp_path / "new"
    assert words in refused("--out", str(out), *arguments)
    assert not out.exists()


def test_a_folder_is_needed() -> None:
    assert "--out" in refused()


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("my only copy")
    assert "is not empty" in refused("--out", str(tmp_path))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused("--out", str(tmp_path / "file" / "new"))
