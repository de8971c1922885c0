"""The default agent, real models, real questions: what it says is what it wrote."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest

from backtalk.audio.files import Audio, read_audio
from backtalk.audio.recorder import ConversationRecorder
from backtalk.audio.resample import resample
from backtalk.cascade.hibari_tts import build_hibari_tts
from backtalk.cascade.speakable import speakable
from backtalk.cascade.whisper_asr import build_whisper_asr
from backtalk.models.store import ModelStore
from backtalk.session.settings import TurnSettings
from backtalk.stream.cancel import CancelToken
from backtalk.stream.clock import run_virtual
from backtalk.systems import Agent, build_agent
from backtalk.talk import Exchange, Question, RecordedConversation

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

QUESTIONS = Path(__file__).parent.parent / "benchmarks" / "questions"
REPLY_TOKENS = 40


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    agent = build_agent(max_tokens=REPLY_TOKENS, temperature=0.0)
    run_virtual(agent.warm_up(), counts_work=True)
    yield agent
    asyncio.run(agent.close())


def hold(
    agent: Agent, *questions: Question, settings: TurnSettings | None = None
) -> tuple[list[Exchange], ConversationRecorder]:
    async def conversation() -> tuple[list[Exchange], ConversationRecorder]:
        recorder = ConversationRecorder(16000)
        session = agent.open_session(settings)
        return await RecordedConversation(session, recorder).hold(questions), recorder

    return run_virtual(conversation(), counts_work=True)


def recording(name: str) -> Question:
    path = next(QUESTIONS.glob(f"*/{name}*.flac"))
    return Question(path.stem, read_audio(path))


def spoken(text: str) -> np.ndarray:
    tts = build_hibari_tts()
    pcm = np.concatenate([chunk.pcm for chunk in tts.speak(text, CancelToken())])
    return resample(pcm, tts.sample_rate, 16000)


def words(text: str) -> str:
    return re.sub(r"[^a-z' ]", " ", speakable(text).lower().replace("-", " "))


def test_what_is_heard_of_the_reply_is_what_was_written(agent: Agent) -> None:
    tail = np.zeros(3200, np.float32)
    questions = [
        Question(
            "capital",
            Audio(np.concatenate([spoken("What is the capital of France?"), tail]), 16000),
        ),
        recording("22-how-can-i-manage"),
    ]
    exchanges, recorder = hold(agent, *questions)
    asr = build_whisper_asr(ModelStore.default(), model="whisper-base")
    agent_channel = recorder.agent_channel
    starts = [round((e.speech_end_s - (recorder.began_s or 0)) * 16000) for e in exchanges]
    ends = [*starts[1:], len(agent_channel)]
    for exchange, start, end in zip(exchanges, starts, ends, strict=True):
        assert exchange.ttfa_ms is not None
        heard = asr.transcribe(agent_channel[start:end]).text
        wer = jiwer.wer(words(exchange.reply), words(heard))
        assert wer <= 0.25, (exchange.reply, heard)
    assert "capital of france" in exchanges[0].transcript.lower()
    assert "paris" in exchanges[0].reply.lower()


def test_cutting_in_silences_the_agent_and_it_remembers_only_what_was_heard(agent: Agent) -> None:
    stop = recording("03-what-is-the-capital")
    cut = Question(stop.name, stop.audio, cuts_in_ms=1500)
    exchanges, _ = hold(agent, recording("22-how-can-i-manage"), cut)
    first, second = exchanges
    assert first.was_interrupted
    assert first.latency is not None
    assert first.latency.barge_in_ms is not None
    assert first.latency.barge_in_ms < 900
    assert 1 <= len(first.reply.split()) < 15
    assert "capital" in second.transcript.lower()
    assert second.ttfa_ms is not None


@pytest.mark.parametrize(
    "name", ["02-what-is-the-capital", "15-what-is-the-capital-of-spain", "20-please-remind-me"]
)
def test_a_pause_in_mid_sentence_does_not_end_the_turn(agent: Agent, name: str) -> None:
    manifest = json.loads((QUESTIONS / "pauses" / "manifest.json").read_text())
    entry = next(e for e in manifest["questions"] if e["file"].startswith(name))
    path = QUESTIONS / "pauses" / entry["file"]
    exchanges, _ = hold(agent, Question(path.stem, read_audio(path)))
    assert not exchanges[0].was_cut
    assert jiwer.wer(words(entry["text"]), words(exchanges[0].transcript)) <= 0.35


def test_noise_gets_no_reply_and_the_question_after_it_does(agent: Agent) -> None:
    rng = np.random.default_rng(0)
    noise = Question("noise", Audio((0.05 * rng.standard_normal(24000)).astype(np.float32), 16000))
    exchanges, _ = hold(agent, noise, recording("03-what-is-the-capital"))
    assert exchanges[0].reply == ""
    assert exchanges[1].ttfa_ms is not None


def test_speaking_begins_sooner_with_speculation_than_without(agent: Agent) -> None:
    from dataclasses import replace

    question = recording("05-please-tell-me")
    ttfa_ms: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(2):
        for speculate in (True, False):
            settings = replace(TurnSettings(), speculate=speculate)
            exchanges, _ = hold(agent, question, settings=settings)
            ttfa_ms[speculate].append(exchanges[0].ttfa_ms or 9999.0)
    assert min(ttfa_ms[True]) < min(ttfa_ms[False])
