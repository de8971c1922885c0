"""Asks a system every question and keeps what it says, as its listener hears it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from backtalk.audio.files import Audio
from backtalk.audio.level import first_audible_sample, last_audible_sample
from backtalk.audio.recorder import ConversationRecorder
from backtalk.systems import Agent
from backtalk.talk import Exchange, Question, RecordedConversation
from backtalk.train.minitalk.shard_file import Item, SpokenTurn


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """What came of one question.

    Attributes:
        name: of the dialogue and the turn in it.
        voice: the user's.
        text: what the system says it said; None if it does not say.
        pcm: float32 [T] at `sample_rate`, what was audible of the reply; empty if nothing was.
        ttfa_ms: last audible sample of the question to first audible one of the reply; None if
            there was no reply.
        rtf: compute time over audio time; None if the system does not say.
        errors: what went wrong, one line each.
    """

    name: str
    voice: str
    spoken: SpokenTurn
    text: str | None
    pcm: np.ndarray = field(repr=False)
    sample_rate: int
    ttfa_ms: float | None = None
    rtf: float | None = None
    errors: tuple[str, ...] = ()


async def ask_all(
    agent: Agent, items: Sequence[Item], on_reply: Callable[[Reply], None]
) -> list[Reply]:
    """Hold every dialogue in a session of its own; replies to all questions, held out or not."""
    replies = []
    for item in items:
        for reply in await _hold(agent, item):
            replies.append(reply)
            on_reply(reply)
    return replies


async def _hold(agent: Agent, item: Item) -> list[Reply]:
    questions = [
        Question(f"{item.name}.{number}", Audio(*spoken.question.pcm()))
        for number, spoken in enumerate(item.turns, 1)
    ]
    recorder = ConversationRecorder()
    conversation = RecordedConversation(agent.open_session(), recorder)
    exchanges = await conversation.hold(questions)
    return [_reply(item, number, exchanges, recorder) for number in range(len(exchanges))]


def _reply(
    item: Item, number: int, exchanges: list[Exchange], recorder: ConversationRecorder
) -> Reply:
    """Cut one reply out of the recording: from the end of its question to the next question."""
    exchange, rate = exchanges[number], recorder.sample_rate
    began_s = recorder.began_s
    assert began_s is not None  # the user has been heard
    start = round((exchange.speech_end_s - began_s) * rate)
    following = exchanges[number + 1 : number + 2]
    end = round((following[0].started_s - began_s) * rate) if following else None
    pcm = audible(recorder.agent_channel[start:end], rate)
    text = " ".join(exchange.reply.split())
    return Reply(
        exchange.question,
        item.voice,
        item.turns[number],
        text or None,
        pcm,
        rate,
        exchange.ttfa_ms,
        exchange.latency.rtf if exchange.latency is not None else None,
        tuple(exchange.errors),
    )


def audible(pcm: np.ndarray, sample_rate: int) -> np.ndarray:
    """What there is between the first and the last audible sample: float32 [T], T from 0."""
    first, last = first_audible_sample(pcm, sample_rate), last_audible_sample(pcm, sample_rate)
    if first is None or last is None:
        return np.zeros(0, np.float32)
    return pcm[first : last + 1]


def true_replies(items: Sequence[Item]) -> list[Reply]:
    """The corpus's own answers, as if a system had given them: what a perfect one would score."""
    replies = []
    for item in items:
        for number, spoken in enumerate(item.turns, 1):
            pcm, rate = spoken.answer.pcm()
            replies.append(
                Reply(f"{item.name}.{number}", item.voice, spoken, spoken.turn.answer, pcm, rate)
            )
    return replies
