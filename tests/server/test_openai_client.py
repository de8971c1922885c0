"""The official `openai` package, as it is, against a running server: only the address is ours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from openai_person import Person, openai_client, person
from running import running

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
CLOCK = {
    "type": "function",
    "name": "clock",
    "description": "Tells the time.",
    "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
}
HELLO: Any = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hello"}],
}


def pool_of(responder: Any) -> AgentPool:
    return AgentPool({"cascade": TurnAgent(responder, FakeVad(), FakeTurnDetector())})


def talkative() -> AgentPool:
    return pool_of(FakeResponder(reply_words=[f"w{n}" for n in range(20)]))


async def take_turns_by(someone: Person, turn_detection: Any) -> None:
    await someone.connection.session.update(
        session={"type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}}
    )
    await someone.until("session.updated")


@pytest.mark.parametrize(
    "turn_detection",
    [
        {"type": "server_vad", "silence_duration_ms": 300},
        {"type": "semantic_vad", "eagerness": "high", "interrupt_response": True},
    ],
    ids=lambda asked: str(asked["type"]),
)
async def test_a_spoken_question_is_answered_in_sound_and_words(turn_detection: Any) -> None:
    async with running() as server, person(server) as someone:
        await take_turns_by(someone, turn_detection)
        await someone.say(silence(200), *QUESTION, silence(1800))
        done = await someone.until("response.done")
        assert done.response.status == "completed"
        heard = someone.of("conversation.item.input_audio_transcription.completed")[-1]
        assert heard.transcript == "what time is it"
        said = done.response.output[0].content[0].transcript
        assert said.split() == ["one", "two", "three", "four", "five"]
        sound = someone.heard()
        assert len(sound) / 24 == pytest.approx(1000, abs=2)
        assert np.median(sound) == pytest.approx(0.3, abs=0.01)
        assert not someone.of("error")


async def test_cutting_in_cancels_and_truncating_is_remembered() -> None:
    async with running(talkative()) as server, person(server) as someone:
        await someone.say(*QUESTION, silence(1400), word("stop", 500), silence(400))
        done = await someone.until("response.done")
        assert done.response.status == "cancelled"
        assert done.response.status_details.reason == "turn_detected"
        item_id = done.response.output[0].id
        await someone.connection.conversation.item.truncate(
            item_id=item_id, content_index=0, audio_end_ms=450
        )
        assert (await someone.until("conversation.item.truncated")).audio_end_ms == 450
        await someone.connection.conversation.item.retrieve(item_id=item_id)
        item = (await someone.until("conversation.item.retrieved")).item
        assert item.content[0].transcript == "w0 w1"
        await someone.until("response.created", count=2)
        assert not someone.of("error")


async def test_a_tool_is_asked_for_and_its_answer_is_spoken() -> None:
    def script(messages: Sequence[Message]) -> Sequence[str | ToolRequest]:
        if messages[-1].role == "tool":
            return ["It is ", messages[-1].content, " now."]
        return [ToolRequest("call_1", "clock", '{"zone":"utc"}')]

    cascade = Cascade(FakeAsr(), FakeLlm(script=script), FakeTts(), build_clause_segmenter)
    async with running(pool_of(cascade)) as server, person(server) as someone:
        await someone.connection.session.update(
            session={"type": "realtime", "instructions": "Be brief.", "tools": [CLOCK]}  # type: ignore[list-item]
        )
        await someone.say(word("hello", 400), silence(1000))
        asked = await someone.until("response.function_call_arguments.done")
        assert (asked.name, asked.arguments) == ("clock", '{"zone":"utc"}')
        called = (await someone.until("response.done")).response.output[0]
        assert (called.type, called.call_id) == ("function_call", "call_1")
        await someone.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": asked.call_id, "output": "four"}
        )
        await someone.connection.response.create()
        done = await someone.until("response.done", count=2)
        assert done.response.output[0].content[0].transcript == "It is four now."
        assert len(someone.heard()) > 24_000 / 2
        assert not someone.of("error")


async def test_push_to_talk_commits_and_asks_by_hand() -> None:
    async with running() as server, person(server) as someone:
        await take_turns_by(someone, None)
        await someone.say(*QUESTION, silence(600))
        assert not someone.of("input_audio_buffer.speech_started", "response.created")
        await someone.connection.input_audio_buffer.commit()
        await someone.connection.response.create()
        assert (await someone.until("response.done")).response.status == "completed"
        kinds = someone.kinds()
        assert kinds.index("input_audio_buffer.committed") < kinds.index("response.created")
        await someone.connection.input_audio_buffer.commit()
        assert (await someone.until("error")).error.code == "input_audio_buffer_commit_empty"


async def test_a_written_message_gets_a_written_reply_and_another_beside_it() -> None:
    async with running() as server, person(server) as someone:
        await someone.connection.conversation.item.create(item=HELLO)
        await someone.connection.response.create(response={"output_modalities": ["text"]})
        await someone.connection.response.create(
            response={
                "conversation": "none",
                "output_modalities": ["text"],
                "metadata": {"topic": "summary"},
                "input": [HELLO],
            }
        )
        await someone.until("response.done", count=2)
        by_topic = {
            (e.response.metadata or {}).get("topic"): e.response
            for e in someone.of("response.done")
        }
        assert by_topic["summary"].conversation_id is None
        for response in by_topic.values():
            assert response.status == "completed"
            assert response.output[0].content[0].text.split()[0] == "one"
        assert set(by_topic) == {None, "summary"}
        assert not someone.of("error", "response.output_audio.delta")


async def test_a_response_is_cancelled_and_the_next_one_is_whole() -> None:
    async with running(talkative()) as server, person(server) as someone:
        await someone.connection.conversation.item.create(item=HELLO)
        await someone.connection.response.create()
        await someone.until("response.output_audio.delta")
        await someone.connection.response.cancel()
        done = await someone.until("response.done")
        assert done.response.status_details.reason == "client_cancelled"
        await someone.connection.response.create(response={"output_modalities": ["text"]})
        assert (await someone.until("response.done", count=2)).response.status == "completed"


async def test_an_ephemeral_key_opens_one_kind_of_session_and_a_wrong_key_none() -> None:
    async with running(tokens=("house-key",)) as server:
        async with openai_client(server, "house-key") as client:
            secret = await client.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={"type": "realtime", "model": "cascade", "instructions": "Be kind."},
            )
            assert {m.id for m in (await client.models.list()).data} == {"cascade", "echo"}
        assert secret.value.startswith("ek_")
        async with person(server, key=secret.value) as someone:
            session = someone.events[0].session
            assert (session.model, session.instructions) == ("cascade", "Be kind.")
        async with (
            openai_client(server, "wrong") as client,
            client.realtime.connect(model="cascade") as connection,
        ):
            refusal = await connection.recv()
            assert refusal.type == "error"
            assert "key" in refusal.error.message


async def test_a_call_is_placed_with_an_offer_and_a_session() -> None:
    aiortc = pytest.importorskip("aiortc")
    from test_webrtc import Caller

    async with running() as server, openai_client(server) as client:
        caller = Caller(microphone_level=0.0)
        await caller.peer.setLocalDescription(await caller.peer.createOffer())
        answer = await client.realtime.calls.create(
            sdp=caller.peer.localDescription.sdp,
            session={"type": "realtime", "model": "cascade", "instructions": "Be kind."},
        )
        assert answer.response.headers["location"].startswith("/v1/realtime/calls/")
        await caller.peer.setRemoteDescription(aiortc.RTCSessionDescription(answer.text, "answer"))
        created = await caller.wait_for("session.created")
        assert created["session"]["instructions"] == "Be kind."
        caller.send(type="conversation.item.create", item=HELLO)
        caller.send(type="response.create")
        await caller.wait_for("output_audio_buffer.stopped")
        assert np.abs(np.concatenate(caller.heard)).max() > 0.2
        await caller.close()
        await asyncio.sleep(0.5)
        assert not server.service.calls


async def test_the_clients_own_beta_is_spoken_to_in_the_betas_words() -> None:
    async with running() as server, person(server, is_beta=True) as someone:
        await someone.connection.session.update(
            session={
                "modalities": ["text", "audio"],
                "voice": "alloy",
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
            }
        )
        session = (await someone.until("session.updated")).session
        assert (session.voice, session.input_audio_format) == ("alloy", "pcm16")
        await someone.say(*QUESTION, silence(1800))
        done = await someone.until("response.done")
        assert done.response.modalities == ["text", "audio"]
        assert done.response.output[0].content[0].type == "audio"
        assert len(someone.heard("response.audio.delta")) / 24 == pytest.approx(1000, abs=2)
        kinds = set(someone.kinds())
        assert "conversation.item.created" in kinds
        assert "conversation.item.added" not in kinds
        assert not [kind for kind in kinds if "output_audio" in kind]
        assert not someone.of("error")
