"""The Realtime protocol over fake stages, on virtual time: what a client sees, in which order."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import orjson
import pytest

from backtalk.audio.pcm import pcm_to_int16_bytes
from backtalk.audio.resample import resample
from backtalk.cascade.cascade import Cascade
from backtalk.cascade.protocols import ToolRequest
from backtalk.cascade.segmenter import build_clause_segmenter
from backtalk.realtime.client_events import handle_event
from backtalk.realtime.outgoing import Outgoing, OutgoingAudio
from backtalk.realtime.realtime_session import RealtimeSession
from backtalk.stream.outbox import Outbox
from backtalk.systems import Agent, TurnAgent
from fakes import (
    RATE,
    FakeAsr,
    FakeLlm,
    FakeResponder,
    FakeTts,
    FakeTurnDetector,
    FakeVad,
    silence,
    word,
)

QUESTION = (word("what", 300), word("time", 300), word("is", 200), word("it", 300))


class Client:
    """Speaks JSON to a session and keeps what comes back."""

    def __init__(self, agent: Agent, model: str = "cascade", **options: Any) -> None:
        self._outbox: Outbox[Outgoing] = Outbox(audio_type=OutgoingAudio)
        self.rt = RealtimeSession(agent, model, self._outbox, **options)
        self.events: list[dict[str, Any]] = []
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for out in self._outbox.read():
            event = orjson.loads(out.encode()) if isinstance(out, OutgoingAudio) else out
            self.events.append(event)

    async def send(self, type: str, **fields: Any) -> None:
        await handle_event(self.rt, {"type": type, **fields})
        await asyncio.sleep(0)

    async def speak(self, *pieces: np.ndarray, chunk_ms: int = 20) -> None:
        pcm = resample(np.concatenate(pieces), RATE, 24_000)
        size = 24 * chunk_ms
        for at in range(0, len(pcm), size):
            data = pcm_to_int16_bytes(pcm[at : at + size])
            await self.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())
            await asyncio.sleep(chunk_ms / 1000)

    def of(self, *types: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["type"] in types]

    def kinds(self, *, without: str = "delta") -> list[str]:
        return [e["type"] for e in self.events if not e["type"].endswith(without)]

    def last(self, type: str) -> dict[str, Any]:
        return self.of(type)[-1]

    def heard_ms(self, item_id: str | None = None) -> float:
        deltas = self.of("response.output_audio.delta")
        audio = [e["delta"] for e in deltas if item_id in (None, e["item_id"])]
        return sum(len(base64.b64decode(a)) for a in audio) / 48

    async def close(self) -> None:
        await self.rt.close()
        await self._listening


def agent_with(responder: Any = None) -> TurnAgent:
    return TurnAgent(responder or FakeResponder(), FakeVad(), FakeTurnDetector())


def cascade_with(llm: FakeLlm) -> TurnAgent:
    return agent_with(Cascade(FakeAsr(), llm, FakeTts(), build_clause_segmenter))


@asynccontextmanager
async def client_of(agent: TurnAgent | None = None, **options: Any) -> AsyncIterator[Client]:
    client = Client(agent or agent_with(), **options)
    await asyncio.sleep(0)
    try:
        yield client
    finally:
        await client.close()


async def update(client: Client, **session: Any) -> dict[str, Any]:
    await client.send("session.update", session={"type": "realtime", **session})
    return client.last("session.updated")["session"]


def turn_detection(value: Any) -> dict[str, Any]:
    return {"audio": {"input": {"turn_detection": value}}}


async def test_a_spoken_turn_gives_the_events_of_the_protocol_in_their_order() -> None:
    async with client_of() as client:
        await client.speak(silence(300), *QUESTION, silence(3000))
        assert client.kinds() == [
            "session.created",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.completed",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
            "rate_limits.updated",
        ]
        completed = client.last("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "what time is it"
        assert client.heard_ms() == pytest.approx(1000, abs=1)
        assert len({e["event_id"] for e in client.events}) == len(client.events)
        started = client.last("input_audio_buffer.speech_started")
        assert started["item_id"] == client.last("input_audio_buffer.committed")["item_id"]
        assert started["audio_start_ms"] == pytest.approx(0, abs=40)
        done = client.last("response.done")["response"]
        assert done["status"] == "completed"
        transcript = done["output"][0]["content"][0]["transcript"]
        assert transcript.split() == ["one", "two", "three", "four", "five"]


async def test_a_barge_in_cancels_the_response_and_truncating_keeps_what_was_heard() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    async with client_of(agent_with(responder)) as client:
        await client.speak(*QUESTION, silence(1400), word("stop", 500), silence(300))
        done = client.last("response.done")["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
        kinds = client.kinds()
        second_speech = len(kinds) - 1 - kinds[::-1].index("input_audio_buffer.speech_started")
        assert second_speech < kinds.index("response.done")
        item_id = done["output"][0]["id"]
        assert client.heard_ms(item_id) < 2000
        await client.send(
            "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=450
        )
        assert client.last("conversation.item.truncated")["audio_end_ms"] == 450
        await client.send("conversation.item.retrieve", item_id=item_id)
        item = client.last("conversation.item.retrieved")["item"]
        assert item["content"][0]["transcript"] == "w0 w1"
        await client.send("conversation.item.truncate", item_id=item_id, audio_end_ms=60_000)
        assert client.last("error")["error"]["param"] == "audio_end_ms"


async def test_a_backchannel_over_a_reply_is_never_told_to_the_client() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    async with client_of(agent_with(responder)) as client:
        await client.speak(*QUESTION, silence(1400), word("uh-huh", 300), silence(4000))
        assert len(client.of("input_audio_buffer.speech_started")) == 1
        assert client.last("response.done")["response"]["status"] == "completed"
        assert client.heard_ms() == pytest.approx(4000, abs=1)


async def test_audio_that_comes_again_after_a_false_interruption_is_sent_once() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    for include in ([], ["backtalk.playout"]):
        async with client_of(agent_with(responder)) as client:
            await update(client, include=include)
            await client.speak(*QUESTION, silence(1400), word("noise", 1000), silence(6000))
            again = bool(client.of("backtalk.output_audio.paused"))
            assert again == bool(include)
            assert client.heard_ms() == pytest.approx(4000, abs=1) or again


async def test_someone_who_had_not_finished_gets_one_item_for_all_of_it() -> None:
    async with client_of(agent_with(FakeResponder(judges_words=False))) as client:
        await client.speak(word("what", 300), word("time", 300), silence(450))
        await client.speak(word("is", 300), word("it", 300), silence(2500))
        deleted = {e["item_id"] for e in client.of("conversation.item.deleted")}
        assert len(deleted) == 2
        completed = client.last("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "what time is it"
        assert completed["item_id"] not in deleted
        assert [m.role for m in client.rt.turns.memory.messages()] == ["user", "assistant"]


async def test_push_to_talk_commits_and_asks_by_hand() -> None:
    async with client_of() as client:
        await update(client, **turn_detection(None))
        await client.send("input_audio_buffer.commit")
        assert client.last("error")["error"]["code"] == "input_audio_buffer_commit_empty"
        await client.speak(*QUESTION, silence(1000))
        assert not client.of("input_audio_buffer.speech_started", "response.created")
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        await asyncio.sleep(3)
        assert client.last("response.done")["response"]["status"] == "completed"
        memory = client.rt.turns.memory.messages()
        assert [m.content for m in memory] == ["what time is it", "one two three four five"]
        await client.speak(word("stop", 300))
        await client.send("input_audio_buffer.clear")
        await client.send("input_audio_buffer.commit")
        assert client.last("error")["error"]["code"] == "input_audio_buffer_commit_empty"


async def test_a_text_message_gets_a_reply_in_text_where_text_is_wanted() -> None:
    async with client_of() as client:
        content = [{"type": "input_text", "text": "hello"}]
        item = {"type": "message", "role": "user", "content": content, "id": "mine"}
        await client.send("conversation.item.create", item=item)
        assert client.last("conversation.item.done")["item"]["id"] == "mine"
        await client.send("response.create", response={"output_modalities": ["text"]})
        await asyncio.sleep(2)
        assert client.last("response.output_text.done")["text"].split()[0] == "one"
        part = client.last("response.done")["response"]["output"][0]["content"][0]
        assert part["type"] == "output_text"
        assert not client.of("response.output_audio.delta")


async def test_tools_are_asked_for_and_their_answers_used_by_the_next_response() -> None:
    def script(messages: list) -> list:
        if messages[-1].role == "tool":
            return ["It is ", messages[-1].content, " now."]
        return [ToolRequest("call_1", "clock", '{"zone":"utc"}')]

    llm = FakeLlm(script=script)
    async with client_of(cascade_with(llm)) as client:
        tool = {"type": "function", "name": "clock", "parameters": {"type": "object"}}
        await update(client, tools=[tool], instructions="Be brief.")
        await client.speak(word("hello", 400), silence(1500))
        done = client.last("response.function_call_arguments.done")
        assert (done["name"], done["call_id"]) == ("clock", "call_1")
        kinds = client.kinds()
        call_added = [
            i
            for i, e in enumerate(client.events)
            if e["type"] == "conversation.item.added" and e["item"]["type"] == "function_call"
        ]
        assert call_added[0] < client.events.index(done)
        assert kinds[-2:] == ["response.done", "rate_limits.updated"]
        output = {"type": "function_call_output", "call_id": "call_1", "output": "four"}
        await client.send("conversation.item.create", item=output)
        await client.send("response.create")
        await asyncio.sleep(4)
        reply = client.last("response.output_audio_transcript.done")["transcript"]
        assert reply == "It is four now."
        assert llm.prompts[-1][0].content.startswith("Be brief.")
        assert [m.role for m in llm.prompts[-1]] == ["system", "user", "assistant", "tool"]


async def test_a_response_out_of_band_runs_beside_and_leaves_no_trace() -> None:
    async with client_of(cascade_with(FakeLlm("A summary of it."))) as client:
        await client.send(
            "response.create",
            response={
                "conversation": "none",
                "output_modalities": ["text"],
                "metadata": {"topic": "summary"},
                "input": [
                    {
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": "sum up"}],
                    }
                ],
            },
        )
        await client.send("response.create")
        await asyncio.sleep(4)
        aside = next(e["response"] for e in client.of("response.done") if e["response"]["metadata"])
        assert aside["metadata"] == {"topic": "summary"}
        assert aside["conversation_id"] is None
        assert aside["output"][0]["content"][0]["text"] == "A summary of it."
        assert len(client.of("response.done")) == 2
        assert len(client.rt.turns.memory) == 1  # the reply to the empty conversation


async def test_only_one_response_of_the_conversation_at_a_time_and_cancelling_needs_one() -> None:
    async with client_of() as client:
        await client.send("response.cancel")
        assert client.last("error")["error"]["code"] == "response_cancel_not_active"
        item = {"role": "user", "type": "message", "content": [{"type": "input_text", "text": "x"}]}
        await client.send("conversation.item.create", item=item)
        await client.send("response.create")
        await asyncio.sleep(0.5)
        await client.send("response.create", event_id="mine")
        error = client.last("error")["error"]
        assert error["code"] == "conversation_already_has_active_response"
        assert error["event_id"] == "mine"
        await client.send("response.cancel")
        await asyncio.sleep(0.1)
        done = client.last("response.done")["response"]
        assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}


async def test_a_stage_that_fails_makes_a_failed_response_and_not_an_error_event() -> None:
    async with client_of(agent_with(FakeResponder(fail_after_words=2))) as client:
        await client.speak(*QUESTION, silence(2500))
        done = client.last("response.done")["response"]
        assert done["status"] == "failed"
        assert "the model died" in done["status_details"]["error"]["message"]
        assert not client.of("error")


async def test_what_a_client_cannot_know_is_mapped_and_what_makes_no_sense_is_refused() -> None:
    async with client_of() as client:
        session = await update(
            client,
            model="gpt-realtime",
            tracing="auto",
            audio={
                "input": {
                    "transcription": {"model": "gpt-4o-mini-transcribe"},
                    "turn_detection": {"type": "semantic_vad", "interrupt_response": True},
                },
                "output": {"voice": "marin"},
            },
        )
        assert session["model"] == "cascade"
        assert session["audio"]["output"]["voice"] == "marin"
        assert session["audio"]["input"]["turn_detection"]["eagerness"] == "auto"
        for wrong in (
            {"output_modalities": ["smell"]},
            {"max_output_tokens": 0},
            {"tools": "hammer"},
            turn_detection({"type": "server_vad", "threshold": 7}),
            turn_detection({"type": "psychic"}),
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
            {"instructions": "x" * 40_000},
        ):
            errors = len(client.of("error"))
            await client.send("session.update", session=wrong)
            assert len(client.of("error")) == errors + 1
        assert client.rt.config.json["audio"]["output"]["voice"] == "marin"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"type": "semantic_vad", "eagerness": "low"}, {"incomplete_wait_ms": 8000}),
        ({"type": "semantic_vad"}, {"incomplete_wait_ms": 700, "complete_wait_ms": 128}),
        (
            {"type": "server_vad", "silence_duration_ms": 400, "prefix_padding_ms": 200},
            {"complete_wait_ms": 400, "incomplete_wait_ms": 400, "pre_roll_ms": 200},
        ),
        ({"type": "server_vad", "create_response": False}, {"replies": False, "yields": True}),
        ({"type": "server_vad", "interrupt_response": False}, {"yields": False}),
        ({"type": "server_vad", "idle_timeout_ms": 5000}, {"idle_timeout_s": 5.0}),
        (None, {"ends_turns": False}),
    ],
)
async def test_turn_detection_means_turn_settings(asked: Any, expected: dict) -> None:
    async with client_of() as client:
        await update(client, **turn_detection(asked))
        settings = client.rt.turn_settings()
        assert {name: getattr(settings, name) for name in expected} == expected


async def test_an_idle_user_is_asked_again() -> None:
    async with client_of() as client:
        await update(client, **turn_detection({"type": "server_vad", "idle_timeout_ms": 1000}))
        await client.speak(silence(1500))
        timeout = client.last("input_audio_buffer.timeout_triggered")
        assert client.last("input_audio_buffer.committed")["item_id"] == timeout["item_id"]
        assert client.of("response.created")


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
async def test_telephone_audio_goes_both_ways(kind: str) -> None:
    from backtalk.audio import g711

    encode = g711.encode_ulaw if kind == "audio/pcmu" else g711.encode_alaw
    async with client_of() as client:
        sides = {"input": {"format": {"type": kind}}, "output": {"format": {"type": kind}}}
        await update(client, audio=sides)
        pcm = resample(np.concatenate([*QUESTION, silence(2500)]), RATE, 8000)
        for at in range(0, len(pcm), 160):
            data = base64.b64encode(encode(pcm[at : at + 160])).decode()
            await client.send("input_audio_buffer.append", audio=data)
            await asyncio.sleep(0.02)
        audio = b"".join(
            base64.b64decode(e["delta"]) for e in client.of("response.output_audio.delta")
        )
        assert len(audio) == pytest.approx(8000, abs=8)


async def test_vendor_events_come_only_to_those_who_ask() -> None:
    async with client_of() as client:
        await client.speak(*QUESTION, silence(2500))
        assert not [e for e in client.events if e["type"].startswith("backtalk.")]
    async with client_of() as client:
        await update(client, include=["backtalk.latency", "backtalk.partials"])
        await client.speak(*QUESTION, silence(2500))
        measured = client.last("backtalk.turn.measured")
        assert sum(measured["stages_ms"].values()) == pytest.approx(measured["ttfa_ms"])
        partial = client.of("backtalk.transcript.partial")[-1]
        assert partial["transcript"] == "what time is it"


async def test_an_item_spoken_elsewhere_is_recognised_before_it_is_answered() -> None:
    async with client_of() as client:
        pcm = pcm_to_int16_bytes(resample(np.concatenate(QUESTION), RATE, 24_000))
        content = [{"type": "input_audio", "audio": base64.b64encode(pcm).decode()}]
        item = {"type": "message", "role": "user", "content": content}
        await client.send("conversation.item.create", item=item)
        await client.send("response.create")
        await asyncio.sleep(2)
        assert [m.content for m in client.rt.turns.memory.messages()][0] == "what time is it"


BAD_EVENTS: list[dict[str, Any]] = [
    {"type": "no.such.event"},
    {"type": "session.update"},
    {"type": "session.update", "session": 7},
    {"type": "input_audio_buffer.append"},
    {"type": "input_audio_buffer.append", "audio": 5},
    {"type": "input_audio_buffer.append", "audio": "not base64!"},
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(b"odd").decode()},
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(48_000 * 16)).decode()},
    {"type": "output_audio_buffer.clear"},
    {"type": "conversation.item.create"},
    {"type": "conversation.item.create", "item": {"type": "mcp_call"}},
    {"type": "conversation.item.create", "item": {"type": "message", "role": "robot"}},
    {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "smell"}]},
    },
    {
        "type": "conversation.item.create",
        "previous_item_id": "nobody",
        "item": {"type": "message", "role": "user", "content": []},
    },
    {"type": "conversation.item.retrieve"},
    {"type": "conversation.item.retrieve", "item_id": "nobody"},
    {"type": "conversation.item.delete", "item_id": ["x"]},
    {"type": "conversation.item.truncate", "item_id": "nobody", "audio_end_ms": 5},
    {"type": "response.create", "response": {"metadata": "x"}},
    {"type": "response.create", "response": {"input": "x"}},
    {"type": "response.create", "response": {"tools": [{"type": "function"}]}},
    {"type": "response.cancel", "response_id": "resp_nobody"},
    {"type": "backtalk.playout", "item_id": "x", "played_ms": -1},
]


@pytest.mark.parametrize("event", BAD_EVENTS, ids=lambda e: str(e)[:60])
async def test_a_bad_event_is_answered_by_one_error_and_the_session_goes_on(event: dict) -> None:
    async with client_of() as client:
        await handle_event(client.rt, {**event, "event_id": "bad"})
        await asyncio.sleep(0)
        if event == {"type": "session.update"}:
            assert client.of("session.updated")
        else:
            (error,) = client.of("error")
            assert error["error"]["event_id"] == "bad"
            assert error["error"]["type"] == "invalid_request_error"
        await client.speak(*QUESTION, silence(2000))
        assert client.of("response.created")
