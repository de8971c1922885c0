"""Whatever a client says, the session answers it in the protocol and then answers a turn.

`fuzz_profile.py` says how to look for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import orjson
from client_event_strategies import JSON, client_events
from fuzz_profile import fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from test_realtime_session import Client, cascade_with

from backtalk.cascade.protocols import ToolRequest
from backtalk.errors import ProtocolError
from backtalk.realtime import wire
from backtalk.realtime.client_events import handle_event
from backtalk.realtime.limits import Limits
from backtalk.server.dialect import Dialect
from backtalk.session.memory import Message
from backtalk.stream.clock import run_virtual
from fakes import FakeLlm

LIMITS = Limits(message_bytes=4096, json_depth=8, json_keys=64)
HELLO = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hello"}],
}


def is_event_or_refused(data: bytes | str) -> bool:
    try:
        event = wire.decode(data, LIMITS)
    except ProtocolError:
        return False
    assert isinstance(event["type"], str)
    assert orjson.loads(wire.encode(event)) == event
    return True


@fuzz(300)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_an_event_or_a_protocol_error(data: bytes | str) -> None:
    is_event_or_refused(data)


@fuzz(300)
@given(st.dictionaries(st.sampled_from(["type", "a", "b"]), JSON))
@example({"type": "x", "a": [[[[[[[[[[]]]]]]]]]]})
def test_any_json_is_an_event_or_a_protocol_error(value: Any) -> None:
    is_too_deep = value.get("a") == [[[[[[[[[[]]]]]]]]]]
    is_event = isinstance(value.get("type"), str) and not is_too_deep
    assert is_event_or_refused(orjson.dumps(value)) == is_event


@fuzz(300)
@given(client_events(), st.data())
def test_an_event_with_one_byte_changed_is_an_event_or_a_protocol_error(
    event: dict[str, Any], data: st.DataObject
) -> None:
    text = bytearray(wire.encode(event))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    is_event_or_refused(bytes(text))


def answer(messages: Sequence[Message]) -> Sequence[str | ToolRequest]:
    """Words to most, a tool request to some."""
    last = messages[-1].content
    if len(last) % 3 == 1:
        return [ToolRequest("call_1", "look", "{}")]
    return ["Well, ", "that ", "is ", "so."]


@fuzz(120)
@given(
    st.lists(
        st.tuples(client_events(), st.sampled_from([0, 0, 0, 0.02, 0.3, 2])),
        min_size=3,
        max_size=20,
    ),
    st.sampled_from(["websocket", "webrtc"]),
    st.booleans(),
)
def test_any_events_are_answered_and_a_turn_after_them_too(
    events: list[tuple[dict[str, Any], float]],
    transport: Literal["websocket", "webrtc"],
    beta: bool,
) -> None:
    run_virtual(hold(events, transport, Dialect(beta)))


async def hold(
    events: list[tuple[dict[str, Any], float]],
    transport: Literal["websocket", "webrtc"],
    dialect: Dialect,
) -> None:
    """A session with these events, each followed by a pause in seconds, and then a turn."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    agent = cascade_with(FakeLlm(script=answer))
    client = Client(agent, transport=transport)
    for event, pause_s in events:
        if not isinstance(event["type"], str):
            continue  # `wire.decode` keeps those out
        if event.get("item_id") == "LAST":
            added = client.of("conversation.item.added")
            event["item_id"] = added[-1]["item"]["id"] if added else "nobody"
        await handle_event(client.rt, dialect.incoming(event))
        await asyncio.sleep(pause_s)
    await a_turn_is_answered(client)
    for said in client.events:
        told = dialect.encode(said)
        assert told is None or orjson.loads(told)["type"]
        if said["type"] == "error":
            assert said["error"]["type"] == "invalid_request_error", said
    await client.close()
    await agent.close()
    assert failures == []
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left


async def a_turn_is_answered(client: Client) -> None:
    """The client puts everything back as it was, and asks."""
    await client.send("session.update", session={"type": "realtime", **PLAIN})
    await client.send("input_audio_buffer.clear")
    await client.send("response.cancel")
    await asyncio.sleep(30)
    asked = len(client.of("response.done"))
    await client.send("conversation.item.create", item=HELLO)
    await client.send("response.create")
    await asyncio.sleep(10)
    answers = client.of("response.done")[asked:]
    assert [done["response"]["status"] for done in answers] == ["completed"]


PLAIN: dict[str, Any] = {
    "output_modalities": ["text"],
    "instructions": "",
    "tools": [],
    "audio": {"input": {"turn_detection": None}},
}
