"""`backtalk eval`: what it refuses, and once the whole way with the default agent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backtalk.cli.eval import evaluate
from backtalk.errors import BacktalkError
from backtalk.train.minitalk.corpus import begin_corpus
from backtalk.train.minitalk.make_shard import make_shard
from backtalk.train.minitalk.plan import MiniTalkSettings
from backtalk.train.minitalk.workers import run_each

app = typer.Typer()
app.command()(evaluate)


def refused(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code != 0
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, BacktalkError)
        return str(result.exception)
    return result.output


def test_a_wrong_folder_is_refused(tmp_path: Path) -> None:
    assert "holds no MiniTalk corpus" in refused("cascade", "--corpus", tmp_path)
    assert "is not a folder" in refused("cascade", "--corpus", tmp_path / "nothing")


def test_a_report_without_a_place_is_refused_before_any_work(tmp_path: Path) -> None:
    out = tmp_path / "no" / "report"
    assert "make the folder" in refused("cascade", "--corpus", tmp_path, "--out", out)


def test_stages_belong_to_the_cascade(tmp_path: Path) -> None:
    assert "go with cascade alone" in refused("echo", "--corpus", tmp_path, "--tts", "piper")


def test_a_typo_in_an_option_is_refused(tmp_path: Path) -> None:
    assert "No such option" in refused("cascade", "--corpus", tmp_path, "--question", "3")


@pytest.mark.slow
@pytest.mark.models
def test_the_default_agent_is_scored_on_a_real_corpus(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    corpus = begin_corpus(tmp_path / "minitalk", MiniTalkSettings(hours=0.02, seed=0))
    test = [plan for plan in corpus.plans if plan.split == "test"]
    list(run_each(make_shard, [(plan, corpus.path_of(plan)) for plan in test], jobs=1))
    arguments = ["cascade", "--corpus", str(corpus.folder), "--questions", "3"]
    result = CliRunner().invoke(app, [*arguments, "--json", "--out", str(tmp_path / "report")])
    assert result.exit_code == 0, (result.output, result.exception)
    report = json.loads(result.stdout)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    reference, (cascade,) = report["reference"], report["systems"]
    assert reference["accuracy"]["share"] >= 0.6
    assert reference["similarity"]["p50"] > 0.8
    assert reference["dnsmos_overall"]["p50"] > 2.5
    assert cascade["scores"]["answered"] >= 2
    assert cascade["scores"]["similarity"]["p50"] > 0.7
    assert 0 < cascade["scores"]["rtf"]["p50"] < 2
    assert cascade["scores"]["ttfa_ms"]["p50"] > 100
