"""`--tts-option NAME=VALUE`: what a voice's builder gets of it, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from backtalk import systems
from backtalk.cascade import plugins
from backtalk.cli.agent_options import AgentChoice
from backtalk.cli.eval import evaluate
from backtalk.cli.plugin_options import plugin_options
from backtalk.cli.serve import serve
from backtalk.cli.talk import talk
from backtalk.errors import ConfigError


def build_fake(
    store: object,
    *,
    depth: int | str = 8,
    threads: int | None = None,
    speed: float = 1.0,
    is_loud: bool = False,
    voice: str = "anna",
    untyped=None,  # type: ignore[no-untyped-def]
) -> None: ...


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--tts fake`, and `any` that takes any option."""
    builders: dict[str, Callable[..., Any]] = {
        "fake": build_fake,
        "any": lambda store, **options: None,
    }
    real_find = plugins.find
    monkeypatch.setattr(
        plugins, "find", lambda group, name: builders.get(name) or real_find(group, name)
    )


def options(*changes: str, name: str = "fake") -> dict[str, Any]:
    return plugin_options("--tts-option", "backtalk.tts", name, list(changes))


def test_values_become_what_the_builders_signature_says() -> None:
    assert options("depth=4", "threads=2", "speed=2", "is_loud=true", "voice=4", "untyped=a=b") == {
        "depth": 4,
        "threads": 2,
        "speed": 2.0,
        "is_loud": True,
        "voice": "4",
        "untyped": "a=b",
    }
    assert options("depth=auto", "voice=") == {"depth": "auto", "voice": ""}
    assert options("pitch=2", name="any") == {"pitch": "2"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["pitch=2"], "'pitch=2': use NAME=VALUE with an option of fake: depth, threads, speed,"),
        (["depth"], "'depth': use NAME=VALUE"),
        (["=4"], "use NAME=VALUE"),
        (["store=x"], "use NAME=VALUE"),
        (["threads=two"], "threads=two: needs a whole number"),
        (["threads=1.5"], "threads=1.5: needs a whole number"),
        (["speed=fast"], "speed=fast: needs a number"),
        (["is_loud=yes"], "is_loud=yes: needs true or false"),
        (["depth=2", "depth=3"], "depth was given before"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        options(*changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["hibari", "piper", "csm"])
def test_every_voice_of_ours_names_its_options(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"an option of {name}: .*voice.*threads|threads.*voice"):
        options("nonsense=1", name=name)


def test_csm_has_options_for_all_that_its_voice_can_do() -> None:
    pairs = {
        "rvq": ("auto", "auto"),
        "voice": ("me.wav", "me.wav"),
        "voice_text": ("Hi, you.", "Hi, you."),
        "speaker": ("3", 3),
        "temperature": ("0.7", 0.7),
        "top_k": ("30", 30),
        "seed": ("5", 5),
        "feedback": ("truncate", "truncate"),
        "padding": ("repeat", "repeat"),
        "end_bias": ("4", 4.0),
        "device": ("cpu", "cpu"),
        "threads": ("2", 2),
        "random_weights": ("0", 0),
    }
    given = [f"{name}={text}" for name, (text, _) in pairs.items()]
    assert options(*given, name="csm") == {name: value for name, (_, value) in pairs.items()}


def test_without_a_voice_named_they_are_the_default_voices() -> None:
    assert AgentChoice("cascade", tts_options=["speed=1.5"]).builder_options() == {
        "tts_options": {"speed": 1.5}
    }


@pytest.mark.parametrize("command", [talk, serve, evaluate])
def test_commands_hand_them_to_the_cascade(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    class Built(Exception):
        pass

    def build_agent(name: str, **built: Any) -> None:
        assert (name, built["tts"], built["tts_options"]) == ("cascade", "fake", {"depth": 4})
        raise Built

    monkeypatch.setattr(systems, "build_agent", build_agent)
    arguments = ["--tts", "fake", "--tts-option", "depth=4"]
    if command is talk:
        monkeypatch.setattr("backtalk.cli.talk._read_questions", lambda files, cut_in: [])
    if command is serve:
        arguments += ["--port", "0"]
    if command is evaluate:
        monkeypatch.setattr("backtalk.eval.held_out.read_held_out", lambda *_: (None, []))
        monkeypatch.setattr("backtalk.eval.replies.true_replies", lambda items: [])
        monkeypatch.setattr("backtalk.eval.judges.load_judges", lambda *_: None)
        monkeypatch.setattr("backtalk.eval.scores.score", lambda judgements: None)
        arguments += ["cascade", "--corpus", str(tmp_path)]
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, Built), result.output
    refused = CliRunner().invoke(app, [*arguments, "--tts-option", "nonsense=1"])
    assert "an option of fake" in str(refused.exception)
