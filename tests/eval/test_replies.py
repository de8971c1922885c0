"""Asking: every reply belongs to its question and is what the listener heard."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from backtalk.eval.replies import ask_all, audible, true_replies
from backtalk.session.turn_session import TurnSession
from backtalk.train.minitalk.grammar import sum_turn
from backtalk.train.minitalk.shard_file import Item, SpokenTurn, Utterance
from fakes import RATE, FakeResponder, FakeTurnDetector, FakeVad, silence, word


class FakeAgent:
    name = "fake"
    details: dict[str, object] = {}

    def __init__(self, responder: FakeResponder) -> None:
        self.responder = responder

    async def warm_up(self) -> None:
        pass

    def open_session(self, settings: object = None) -> TurnSession:
        return TurnSession(self.responder, FakeVad(), FakeTurnDetector())

    async def close(self) -> None:
        pass


def recorded(pcm: np.ndarray) -> Utterance:
    file = io.BytesIO()
    soundfile.write(file, pcm, RATE, format="FLAC", subtype="PCM_16")
    return Utterance("", len(pcm) / RATE, (), file.getvalue())


def dialogue(name: str, *questions: str) -> Item:
    turn = sum_turn("", "plus", 1, 1)
    turns = [
        SpokenTurn(
            turn,
            recorded(np.concatenate([silence(200), word(q, 400), silence(200)])),
            recorded(word(q, 300)),
            True,
        )
        for q in questions
    ]
    return Item(name, "test", "joe", {}, tuple(turns))


async def test_every_question_of_every_dialogue_has_its_reply() -> None:
    told: list[str] = []
    agent = FakeAgent(FakeResponder(reply_words=("one", "two")))
    items = [dialogue("a", "what", "hello"), dialogue("b", "time")]
    replies = await ask_all(agent, items, lambda reply: told.append(reply.name))
    assert [reply.name for reply in replies] == ["a.1", "a.2", "b.1"] == told
    assert len(agent.responder.conversations) == 2
    for reply in replies:
        assert reply.text == "one two"
        assert len(reply.pcm) / reply.sample_rate == pytest.approx(0.4, abs=0.05)
        assert reply.ttfa_ms is not None
        assert 100 < reply.ttfa_ms < 2000
        assert reply.errors == ()


async def test_a_question_that_breaks_the_system_is_a_reply_without_sound() -> None:
    agent = FakeAgent(FakeResponder(fail_after_words=0))
    (reply,) = await ask_all(agent, [dialogue("a", "what")], lambda reply: None)
    assert reply.pcm.size == 0
    assert reply.ttfa_ms is None
    assert reply.errors


def test_the_corpus_answers_itself() -> None:
    replies = true_replies([dialogue("a", "what", "hello")])
    assert [reply.name for reply in replies] == ["a.1", "a.2"]
    assert replies[0].text == "One plus one is two."
    assert replies[0].pcm.size == 300 * RATE // 1000


def test_silence_around_a_reply_is_not_judged() -> None:
    pcm = np.concatenate([silence(500), word("what", 300), silence(700)])
    assert len(audible(pcm, RATE)) / RATE == pytest.approx(0.3, abs=0.02)
    assert audible(silence(500), RATE).size == 0
