"""Recorded conversations on virtual time: what is asked, heard, measured and written down."""

from __future__ import annotations

import numpy as np
import pytest

from backtalk.audio.files import Audio
from backtalk.audio.recorder import ConversationRecorder
from backtalk.session.settings import TurnSettings
from backtalk.session.turn_session import TurnSession
from backtalk.talk import Exchange, Question, RecordedConversation
from fakes import (
    RATE,
    FakeResponder,
    FakeTurnDetector,
    FakeVad,
    silence,
    word,
)


def question(*pieces: np.ndarray, name: str = "q", cuts_in_ms: float | None = None) -> Question:
    pcm = np.concatenate([silence(200), *pieces, silence(200)])
    return Question(name, Audio(pcm, RATE), cuts_in_ms)


WHAT = question(word("what", 300), word("time", 300), name="what")
HELLO = question(word("hello", 500), name="hello")


async def hold(
    *questions: Question, responder: FakeResponder | None = None, detector: object = None
) -> tuple[list[Exchange], ConversationRecorder]:
    recorder = ConversationRecorder(RATE)
    session = TurnSession(
        responder or FakeResponder(), FakeVad(), detector or FakeTurnDetector(), TurnSettings()
    )
    return await RecordedConversation(session, recorder).hold(questions), recorder


async def test_every_question_is_answered_in_order_and_measured_in_the_recording() -> None:
    exchanges, recorder = await hold(WHAT, HELLO)
    assert [(e.question, e.transcript) for e in exchanges] == [
        ("what", "what time"),
        ("hello", "hello"),
    ]
    for exchange in exchanges:
        assert exchange.reply.split() == ["one", "two", "three", "four", "five"]
        assert exchange.ttfa_ms == pytest.approx(TurnSettings().soft_end_ms + 50 + 150, abs=50)
        assert sum(exchange.stages_ms().values()) == pytest.approx(exchange.ttfa_ms)
        assert not exchange.was_cut
    # Each side is on its own channel: nobody speaks at the same time here.
    both = (np.abs(recorder.user_channel) > 0.1) & (np.abs(recorder.agent_channel) > 0.1)
    assert not both.any()


async def test_cutting_in_is_heard_as_such_and_the_agent_falls_silent() -> None:
    stop = question(word("stop", 600), name="stop", cuts_in_ms=800)
    long_winded = FakeResponder(reply_words=[f"w{n}" for n in range(30)])
    exchanges, recorder = await hold(WHAT, stop, responder=long_winded)
    first, second = exchanges
    assert first.was_interrupted
    assert 3 <= len(first.reply.split()) <= 8
    assert second.transcript == "stop"
    assert len(second.reply.split()) == 30
    agent = np.abs(recorder.agent_channel) > 0.1
    cut_s = second.started_s - recorder.began_s
    between = agent[
        round((cut_s + 1.0) * RATE) : round((second.speech_end_s - recorder.began_s) * RATE)
    ]
    assert not between.any()
    assert first.latency is not None
    assert first.latency.barge_in_ms == pytest.approx(306, abs=80)


async def test_a_recording_of_silence_is_passed_over_and_the_next_one_answered() -> None:
    nothing = Question("nothing", Audio(silence(1500), RATE))
    exchanges, _ = await hold(nothing, HELLO)
    assert exchanges[0].transcript == ""
    assert exchanges[0].ttfa_ms is None
    assert exchanges[1].transcript == "hello"


async def test_a_reply_that_starts_inside_a_question_counts_as_a_cut() -> None:
    hesitant = question(word("what", 300), silence(600), word("time", 600), name="hesitant")
    exchanges, _ = await hold(hesitant)
    assert exchanges[0].was_cut
    assert exchanges[0].transcript == "what time"
    patient = FakeTurnDetector(incomplete_after=["what"])
    exchanges, _ = await hold(hesitant, detector=patient)
    assert not exchanges[0].was_cut


async def test_a_failing_stage_is_noted_with_its_question_and_the_conversation_goes_on() -> None:
    exchanges, _ = await hold(WHAT, HELLO, responder=FakeResponder(fail_after_words=2))
    assert [e.errors for e in exchanges] == [["the model died"], ["the model died"]]
