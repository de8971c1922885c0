"""The official `openai-agents` package, as it is, holds a conversation with a running server.

It validates every event and reports one that it does not know as an error, so "no error" means
that all that the server said was protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from openai_person import CHUNK_MS, chunks_of, to_wire
from running import Running, running

from backtalk.audio.pcm import pcm_from_int16_bytes
from backtalk.cascade.cascade import Cascade
from backtalk.cascade.protocols import ToolRequest
from backtalk.cascade.segmenter import build_clause_segmenter
from backtalk.server.agent_pool import AgentPool
from backtalk.session.memory import Message
from backtalk.systems import TurnAgent
from fakes import (
    FakeAsr,
    FakeLlm,
    FakeResponder,
    FakeTts,
    FakeTurnDetector,
    FakeVad,
    silence,
    word,
)

pytestmark = pytest.mark.realtime

QUESTION = (word("what", 300), word("time", 300), word("is", 200), word("it", 300))


class User:
    """Speaks to a session of the package and keeps what it reports."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self.events: list[Any] = []
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self.session:
            self.events.append(event)

    async def say(self, *pieces: np.ndarray) -> None:
        for chunk in chunks_of(to_wire(*pieces)):
            await self.session.send_audio(chunk)
            await asyncio.sleep(CHUNK_MS / 1000)

    def of(self, type: str) -> list[Any]:
        return [event for event in self.events if event.type == type]

    async def until(self, type: str, count: int = 1, within_s: float = 8.0) -> Any:
        for _ in range(round(within_s / 0.05)):
            if len(self.of(type)) >= count:
                return self.of(type)[count - 1]
            await asyncio.sleep(0.05)
        raise AssertionError(f"no {type}, only {[e.type for e in self.events]}")

    def heard(self) -> np.ndarray:
        return pcm_from_int16_bytes(b"".join(e.audio.data for e in self.of("audio")))

    def said(self, role: str) -> list[str]:
        """The transcripts of one side, as the package's history has them."""
        history = self.of("history_updated")[-1].history
        items = [i for i in history if i.type == "message" and i.role == role]
        return [content.transcript for item in items for content in item.content]

    async def stop_listening(self) -> None:
        await asyncio.gather(self._listening)


@contextlib.asynccontextmanager
async def user_of(server: Running, agent: RealtimeAgent) -> AsyncIterator[User]:
    set_tracing_disabled(True)
    session = await RealtimeRunner(agent).run(
        model_config={"api_key": "any", "url": f"ws://{server.address}/v1/realtime?model=cascade"}
    )
    user = User(session)
    async with session:
        yield user
    await user.stop_listening()
    assert not user.of("error")


def pool_of(responder: Any) -> AgentPool:
    return AgentPool({"cascade": TurnAgent(responder, FakeVad(), FakeTurnDetector())})


async def test_a_question_is_answered_and_both_sides_are_in_the_history() -> None:
    assistant = RealtimeAgent(name="assistant", instructions="Be brief.")
    async with running() as server, user_of(server, assistant) as user:
        await user.say(silence(200), *QUESTION, silence(2500))
        await user.until("agent_end")
        await user.until("audio_end")
        assert len(user.heard()) / 24 == pytest.approx(1000, abs=2)
        assert user.said("user") == ["what time is it"]
        assert user.said("assistant")[0].split() == ["one", "two", "three", "four", "five"]


async def test_a_function_is_called_and_its_answer_is_spoken() -> None:
    asked: list[str] = []

    @function_tool
    def clock(zone: str) -> str:
        """Tells the time."""
        asked.append(zone)
        return "four"

    def script(messages: Sequence[Message]) -> Sequence[str | ToolRequest]:
        if messages[-1].role == "tool":
            return ["It is ", messages[-1].content, " now."]
        return [ToolRequest("call_1", "clock", '{"zone":"utc"}')]

    cascade = Cascade(FakeAsr(), FakeLlm(script=script), FakeTts(), build_clause_segmenter)
    assistant = RealtimeAgent(name="assistant", instructions="Be brief.", tools=[clock])
    async with running(pool_of(cascade)) as server, user_of(server, assistant) as user:
        await user.say(word("hello", 400), silence(1500))
        await user.until("tool_end")
        await user.until("audio_end")
        await user.until("agent_end", count=2)
        assert asked == ["utc"]
        assert user.said("assistant")[-1] == "It is four now."


async def test_cutting_in_stops_the_audio_and_a_new_answer_follows() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    assistant = RealtimeAgent(name="assistant", instructions="Be brief.")
    async with running(pool_of(responder)) as server, user_of(server, assistant) as user:
        await user.say(*QUESTION, silence(1400), word("stop", 500), silence(1500))
        await user.until("audio_interrupted")
        await user.until("agent_start", count=2)
        assert user.said("user") == ["what time is it", "stop"]
        cut, *_ = user.said("assistant")
        assert 0 < len(cut.split()) < 20


async def test_a_pause_inside_a_question_costs_no_error() -> None:
    # The reply begun in the pause is taken back; the package truncates and retrieves items that
    # are no longer there.
    responder = FakeResponder(judges_words=False)
    assistant = RealtimeAgent(name="assistant", instructions="Be brief.")
    async with running(pool_of(responder)) as server, user_of(server, assistant) as user:
        await user.say(word("what", 300), word("time", 300), silence(450))
        await user.say(word("is", 300), word("it", 300), silence(2500))
        await user.until("agent_end", count=2)
        assert user.said("user") == ["what time is it"]


async def test_a_user_who_interrupts_by_hand_is_heard_on() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    assistant = RealtimeAgent(name="assistant", instructions="Be brief.")
    async with running(pool_of(responder)) as server, user_of(server, assistant) as user:
        await user.session.send_message("hello")
        await user.until("audio")
        await asyncio.sleep(0.3)
        await user.session.interrupt()
        await user.until("audio_interrupted")
        await asyncio.sleep(0.3)
        await user.session.send_message("hello")
        await user.until("agent_start", count=2)
