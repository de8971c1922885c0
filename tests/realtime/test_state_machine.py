"""A client that does anything the protocol allows, in any order, on virtual time.

After every step the conversation as the client was told of it must make sense.
`fuzz_profile.py` says how to look for longer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from fuzz_profile import fuzz
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_realtime_session import agent_with, cascade_with, client_of

from backtalk.cascade.protocols import ToolRequest
from backtalk.stream.clock import VirtualTimeLoop
from fakes import FakeLlm, FakeResponder, silence, word

AGENTS = {
    "short replies": lambda: agent_with(FakeResponder(reply_words=["one", "two"])),
    "long replies": lambda: agent_with(FakeResponder(reply_words=[f"w{n}" for n in range(30)])),
    "replies that fail": lambda: agent_with(FakeResponder(fail_after_words=2)),
    "no transcript": lambda: agent_with(FakeResponder(has_transcript=False)),
    "a cascade": lambda: cascade_with(FakeLlm()),
    "a cascade that calls tools": lambda: cascade_with(
        FakeLlm(script=lambda _: ["Let me look. ", ToolRequest("call_0", "look", "{}")])
    ),
}
TURN_DETECTIONS = [
    None,
    {"type": "server_vad", "silence_duration_ms": 300},
    {"type": "server_vad", "idle_timeout_ms": 1000},
    {"type": "semantic_vad", "eagerness": "high"},
    {"type": "semantic_vad", "create_response": False},
    {"type": "semantic_vad", "interrupt_response": False},
]
UTTERANCES = [
    [word("what", 300), word("time", 300), word("it", 300)],
    [word("stop", 500)],
    [word("uh-huh", 300)],
    [word("noise", 300)],
    [word("hello", 200), word("and", 300)],
    [word("what", 120)],
]
LONGEST_REPLY_S = 30


def message(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content}


class Conversation(RuleBasedStateMachine):
    """The client, and what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.failures: list[dict[str, Any]] = []
        self.runner.get_loop().set_exception_handler(lambda _, about: self.failures.append(about))
        self.seen = 0
        self.told: Counter[str] = Counter()
        self.items: dict[str, str] = {}
        self.committed: set[str] = set()
        self.deleted: set[str] = set()
        self.responses: dict[str, dict[str, Any]] = {}
        self.active: set[str] = set()
        self.heard_speech: set[str] = set()
        self.audio_ms: Counter[str] = Counter()

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        """A step of the client; then the session says what it has to say about it."""

        async def settled() -> None:
            await step
            for _ in range(5):
                await asyncio.sleep(0)

        self.runner.run(settled())
        self.note()

    @initialize(kind=st.sampled_from(sorted(AGENTS)))
    def connect(self, kind: str) -> None:
        async def open_session() -> None:
            self.agent = AGENTS[kind]()
            self.connection = client_of(self.agent)
            self.client = await self.connection.__aenter__()

        self.run(open_session())

    # What the client does.

    @rule(turn_detection=st.sampled_from(TURN_DETECTIONS))
    def take_turns_so(self, turn_detection: dict[str, Any] | None) -> None:
        audio = {"input": {"turn_detection": turn_detection}}
        self.run(self.client.send("session.update", session={"audio": audio}))

    @rule(modality=st.sampled_from(["audio", "text"]))
    def be_answered_in(self, modality: str) -> None:
        self.run(self.client.send("session.update", session={"output_modalities": [modality]}))

    @rule(said=st.sampled_from(UTTERANCES), pause_ms=st.sampled_from([40, 200, 400, 1500]))
    def speak(self, said: list[Any], pause_ms: int) -> None:
        self.run(self.client.speak(*said, silence(pause_ms)))

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.2, 4.0]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule()
    def commit(self) -> None:
        self.run(self.client.send("input_audio_buffer.commit"))

    @rule()
    def clear(self) -> None:
        self.run(self.client.send("input_audio_buffer.clear"))

    @rule(text=st.sampled_from(["hello", ""]), at_front=st.booleans())
    def write(self, text: str, at_front: bool) -> None:
        behind = {"previous_item_id": "root"} if at_front else {}
        self.run(self.client.send("conversation.item.create", item=message(text), **behind))

    @precondition(lambda self: self.items)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        item_id = data.draw(st.sampled_from(sorted(self.items, key=list(self.items).index)))
        self.run(self.client.send("conversation.item.delete", item_id=item_id))

    @rule()
    def ask(self) -> None:
        self.run(self.client.send("response.create"))

    @rule()
    def ask_aside(self) -> None:
        response = {"conversation": "none", "input": [message("hello")]}
        self.run(self.client.send("response.create", response=response))

    @rule()
    def cancel(self) -> None:
        self.run(self.client.send("response.cancel"))

    @precondition(lambda self: self.audio_ms)
    @rule(share=st.sampled_from([0.0, 0.3, 1.0]))
    def truncate_the_last_reply(self, share: float) -> None:
        item_id = list(self.audio_ms)[-1]
        end_ms = int(share * self.audio_ms[item_id])
        self.run(
            self.client.send("conversation.item.truncate", item_id=item_id, audio_end_ms=end_ms)
        )

    @precondition(lambda self: self.audio_ms)
    @rule(share=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
    def report_playout(self, share: float) -> None:
        item_id = list(self.audio_ms)[-1]
        played_ms = share * self.audio_ms[item_id]
        self.run(self.client.send("backtalk.playout", item_id=item_id, played_ms=played_ms))

    @precondition(lambda self: "function_call" in self.items.values())
    @rule()
    def answer_a_tool(self) -> None:
        call_id = [i for i, kind in self.items.items() if kind == "function_call"][-1]
        item = {"type": "function_call_output", "call_id": call_id, "output": "4"}
        self.run(self.client.send("conversation.item.create", item=item))

    @rule()
    def wait_until_all_is_said(self) -> None:
        self.run(self.client.speak(silence(3000)))
        self.run(asyncio.sleep(LONGEST_REPLY_S))
        detection = self.client.rt.config.json["audio"]["input"]["turn_detection"] or {}
        assert detection.get("idle_timeout_ms") or not self.active

    # What it was told.

    def note(self) -> None:
        for event in self.client.events[self.seen :]:
            self.seen += 1
            self.told[event["event_id"]] += 1
            note = getattr(self, "on_" + event["type"].replace(".", "_"), None)
            if note is not None:
                note(event)

    def on_conversation_item_added(self, event: dict[str, Any]) -> None:
        assert event["item"]["id"] not in self.items
        kept = {entry.id for entry in self.client.rt.turns.memory}
        assert event["previous_item_id"] in {None, *self.items, *kept}
        self.items[event["item"]["id"]] = event["item"]["type"]

    def on_conversation_item_deleted(self, event: dict[str, Any]) -> None:
        self.items.pop(event["item_id"], None)
        self.deleted.add(event["item_id"])

    def on_input_audio_buffer_speech_started(self, event: dict[str, Any]) -> None:
        self.heard_speech.add(event["item_id"])

    def on_input_audio_buffer_speech_stopped(self, event: dict[str, Any]) -> None:
        assert event["item_id"] in self.heard_speech

    def on_input_audio_buffer_committed(self, event: dict[str, Any]) -> None:
        assert event["item_id"] not in self.committed
        self.committed.add(event["item_id"])

    def on_response_created(self, event: dict[str, Any]) -> None:
        response = event["response"]
        assert response["id"] not in self.responses
        self.responses[response["id"]] = response
        self.active.add(response["id"])
        in_conversation = [r for r in self.active if self.responses[r]["conversation_id"]]
        assert len(in_conversation) <= 1

    def on_response_done(self, event: dict[str, Any]) -> None:
        response = event["response"]
        self.active.remove(response["id"])
        assert response["status"] in ("completed", "cancelled", "failed")
        for item in response["output"]:
            assert item["status"] != "in_progress"
            assert response["conversation_id"] is None or item["id"] in {*self.items, *self.deleted}

    def on_response_output_audio_delta(self, event: dict[str, Any]) -> None:
        assert event["response_id"] in self.active
        if self.responses[event["response_id"]]["conversation_id"] is not None:
            self.audio_ms[event["item_id"]] += len(event["delta"]) * 3 / 4 / 48

    def on_error(self, event: dict[str, Any]) -> None:
        assert event["error"]["type"] == "invalid_request_error", event

    @invariant()
    def every_event_has_an_id_of_its_own(self) -> None:
        assert set(self.told.values()) <= {1}

    @invariant()
    def what_the_client_knows_is_in_the_memory(self) -> None:
        kept = {entry.id for entry in self.client.rt.turns.memory}
        assert set(self.items) <= kept
        assert self.committed <= kept | self.deleted

    @invariant()
    def nothing_failed(self) -> None:
        for about in self.failures:
            raise about.get("exception") or AssertionError(about["message"])

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            self.runner.close()
            return

        async def close() -> None:
            await self.connection.__aexit__(None, None, None)
            await self.agent.close()
            told = len(self.client.events)
            await asyncio.sleep(LONGEST_REPLY_S)
            assert len(self.client.events) == told
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left

        try:
            self.runner.run(close())
            self.note()
            self.nothing_failed()
        finally:
            self.runner.close()


TestConversation = Conversation.TestCase
TestConversation.settings = fuzz(50, stateful_step_count=25, phases=[Phase.generate])
