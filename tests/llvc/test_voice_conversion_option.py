"""`--voice-conversion`: any agent's replies, and `speak`, in an LLVC voice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from small_llvc import SMALL
from typer.testing import CliRunner

from backtalk.audio.files import read_audio
from backtalk.audio.recorder import ConversationRecorder
from backtalk.cascade import plugins
from backtalk.cascade.protocols import SpokenChunk
from backtalk.cli.serve import serve
from backtalk.cli.speak import speak
from backtalk.errors import ConfigError, ModelError
from backtalk.llvc import llvc_system
from backtalk.llvc.llvc_system import open_voice
from backtalk.llvc.random_voice import random_voice
from backtalk.models.store import ModelStore
from backtalk.stream.cancel import CancelToken
from backtalk.stream.clock import run_virtual
from backtalk.systems import build_agent
from backtalk.talk import Exchange, Question, RecordedConversation

RATE = 24_000


class Tone:
    """A voice that says everything as a second of tone."""

    sample_rate = RATE

    def speak(self, text: str, cancel: CancelToken) -> Iterator[SpokenChunk]:
        t = np.arange(RATE, dtype=np.float32) / RATE
        yield SpokenChunk((0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32), text)

    def warm_up(self) -> None:
        pass


@pytest.fixture
def tone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--tts tone`, and random voices small enough for a test."""
    real_find = plugins.find

    def find(group: str, name: str) -> Callable[..., Any]:
        return (lambda store: Tone()) if name == "tone" else real_find(group, name)

    monkeypatch.setattr(plugins, "find", find)
    monkeypatch.setattr(llvc_system, "random_voice", lambda seed: random_voice(seed, SMALL))


def invoke(function: Any, *arguments: str | Path) -> Any:
    app = typer.Typer()
    app.command()(function)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("tone")
def test_speech_is_as_long_in_another_voice_and_another_sound(tmp_path: Path) -> None:
    plain, other = tmp_path / "plain.wav", tmp_path / "other.wav"
    for out, more in ((plain, []), (other, ["--voice-conversion", "random-0"])):
        result = invoke(speak, "Hello.", "--tts", "tone", "--json", "--out", out, *more)
        assert result.exit_code == 0, result.exception
    report = json.loads(result.stdout)
    assert (report["sample_rate"], report["audio_s"]) == (16_000, 1.0)
    heard, converted = read_audio(plain, 16_000).pcm, read_audio(other).pcm
    assert converted.size == heard.size
    assert np.abs(converted).max() > 0.01
    assert abs(np.corrcoef(heard, converted)[0, 1]) < 0.9


@pytest.mark.usefixtures("tone")
def test_a_voice_that_is_not_there_is_told_before_anything_is_said(tmp_path: Path) -> None:
    out = tmp_path / "other.wav"
    result = invoke(speak, "Hello.", "--tts", "tone", "--out", out, "--voice-conversion", "alto")
    assert isinstance(result.exception, ModelError)
    assert "no voice 'alto'" in str(result.exception)
    assert not out.exists()


def test_a_name_can_stand_for_random_weights(tmp_path: Path) -> None:
    voice = open_voice(ModelStore(tmp_path), "random-3")
    assert voice.name == "random-3"
    name = "out_conv.0.weight"
    assert np.array_equal(voice.weights[name], random_voice(3).weights[name])


def test_a_voice_for_a_system_that_is_not_served_is_refused() -> None:
    result = invoke(serve, "--voice", "alto")
    assert isinstance(result.exception, ConfigError)
    assert "add --system llvc" in str(result.exception)


@pytest.mark.models
@pytest.mark.timeout(300)
def test_the_default_agent_speaks_in_another_voice_and_remembers_what_was_heard() -> None:
    agent = build_agent(voice_conversion="random-0", max_tokens=16, temperature=0.0)
    questions = Path(__file__).parents[2] / "benchmarks" / "questions"
    path = next(questions.glob("*/22-how-can-i-manage*.flac"))

    async def conversation() -> list[Exchange]:
        session = agent.open_session()
        assert session.sample_rate_out == 16_000
        recorder = ConversationRecorder(16_000)
        return await RecordedConversation(session, recorder).hold(
            [
                Question("manage", read_audio(path)),
                Question("stop", read_audio(path), cuts_in_ms=1500),
            ]
        )

    try:
        run_virtual(agent.warm_up(), counts_work=True)
        exchanges = run_virtual(conversation(), counts_work=True)
    finally:
        asyncio.run(agent.close())
    cut, whole = exchanges
    assert agent.details["voice_conversion"] == "llvc random-0"
    assert cut.was_interrupted
    assert 0 < len(cut.reply.split()) < 20
    assert whole.reply.split()
    for exchange in exchanges:
        assert exchange.errors == []
        assert 0 < exchange.stages_ms()["voice_conversion"] < 150
