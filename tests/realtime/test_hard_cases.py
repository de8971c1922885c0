"""What clients do that nobody expects: each of these once went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from test_realtime_session import QUESTION, agent_with, cascade_with, client_of, update

from backtalk.cascade.protocols import ToolRequest
from backtalk.errors import ProtocolError
from backtalk.realtime import beta
from backtalk.realtime.client_events import HANDLERS, handle_event
from backtalk.session.memory import Message
from fakes import FakeLlm, FakeResponder, silence, word

HELLO = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hello"}],
}


@pytest.mark.parametrize("include", [[["backtalk.latency"]], [{}], "backtalk.resume", 7, [None]])
async def test_an_include_that_is_no_list_of_names_is_refused(include: Any) -> None:
    async with client_of() as client:
        await client.send("session.update", session={"include": include})
        assert client.last("error")["error"]["param"] == "include"
        await client.speak(*QUESTION, silence(2000))
        assert client.of("response.created")


@pytest.mark.parametrize("asked", [{}, [], 7, "opus", None])
async def test_a_beta_format_that_is_none_is_refused_by_the_session(asked: Any) -> None:
    event = beta.client_event_to_ga(
        {"type": "session.update", "session": {"input_audio_format": asked}}
    )
    async with client_of() as client:
        await handle_event(client.rt, event)
        await asyncio.sleep(0)
        assert client.last("error")["error"]["param"] == "format.type"


async def test_a_reply_to_something_else_than_the_conversation_is_part_of_it_all_the_same() -> None:
    async with client_of() as client:
        await client.send("response.create", response={"input": [HELLO]})
        await asyncio.sleep(3)
        item_id = client.last("response.done")["response"]["output"][0]["id"]
        await client.send("conversation.item.retrieve", item_id=item_id)
        item = client.last("conversation.item.retrieved")["item"]
        assert item["content"][0]["transcript"].split()[0] == "one"
        assert [m.role for m in client.rt.turns.memory.messages()] == ["assistant"]


async def test_of_many_responses_asked_for_at_once_one_is_made_and_the_others_refused() -> None:
    async with client_of() as client:
        await client.send("conversation.item.create", item=HELLO)
        create = HANDLERS["response.create"]
        await create(client.rt, {"type": "response.create"})
        for _ in range(3):
            with pytest.raises(ProtocolError) as refusal:
                await create(client.rt, {"type": "response.create"})
            assert refusal.value.code == "conversation_already_has_active_response"
        await asyncio.sleep(4)
        assert len(client.of("response.done")) == 1


async def test_a_response_that_waits_for_the_end_of_another_is_told_of_when_both_are_cut() -> None:
    agent = agent_with(FakeResponder(reply_words=["one"], word_ms=3000))
    async with client_of(agent) as client:
        await client.send("conversation.item.create", item=HELLO)
        await client.send("response.create")
        await asyncio.sleep(2.95)
        assert client.of("response.done")  # sent whole, and not yet heard to its end
        await client.send("response.create", response={"metadata": {"n": "second"}})
        await client.send("response.create", response={"metadata": {"n": "third"}})
        assert client.last("error")["error"]["code"] == "conversation_already_has_active_response"
        await client.send("response.cancel")
        await asyncio.sleep(0.1)
        second = client.last("response.done")["response"]
        assert (second["status"], second["metadata"]) == ("cancelled", {"n": "second"})
        assert len(client.of("response.created")) == 2


async def test_items_of_half_a_turn_that_were_taken_back_are_gone_and_no_error() -> None:
    async with client_of(agent_with(FakeResponder(judges_words=False))) as client:
        await client.speak(word("what", 300), word("time", 300), silence(450))
        await client.speak(word("is", 300), word("it", 300), silence(300))
        gone = [e["item_id"] for e in client.of("conversation.item.deleted")]
        assert len(gone) == 2
        await client.send("conversation.item.truncate", item_id=gone[0], audio_end_ms=100)
        await client.send("conversation.item.retrieve", item_id=gone[1])
        await client.send("conversation.item.delete", item_id=gone[0])
        assert [e["item_id"] for e in client.of("conversation.item.deleted")[2:]] == [
            gone[0],
            gone[1],
            gone[0],
        ]
        assert not client.of("error")


async def test_a_model_that_calls_every_tool_request_the_same_has_each_of_them_answered() -> None:
    asked = iter(["Paris", "Rome"])

    def script(messages: Sequence[Message]) -> Sequence[str | ToolRequest]:
        if messages[-1].role == "tool":
            return [f"It is {messages[-1].content}."]
        return [ToolRequest("call_0", "weather", next(asked))]

    llm = FakeLlm(script=script)
    async with client_of(cascade_with(llm)) as client:
        for city, weather in (("Paris", "wet"), ("Rome", "dry")):
            await client.send("conversation.item.create", item=HELLO)
            await client.send("response.create")
            await asyncio.sleep(1)
            call = client.last("response.done")["response"]["output"][0]
            assert (call["name"], call["arguments"]) == ("weather", city)
            answer = {"type": "function_call_output", "call_id": call["call_id"], "output": weather}
            await client.send("conversation.item.create", item=answer)
            await client.send("response.create", response={"output_modalities": ["text"]})
            await asyncio.sleep(1)
            said = client.last("response.done")["response"]["output"][0]["content"][0]["text"]
            assert said == f"It is {weather}."
        assert [m.content for m in llm.prompts[-1] if m.role == "tool"] == ["wet", "dry"]


async def test_a_tool_request_that_is_called_like_an_item_of_the_client_is_told_as_a_request() -> (
    None
):
    llm = FakeLlm(script=lambda _: [ToolRequest("mine", "look", "{}")])
    async with client_of(cascade_with(llm)) as client:
        await client.send("conversation.item.create", item={**HELLO, "id": "mine"})
        await client.send("response.create")
        await asyncio.sleep(1)
        call = client.last("response.done")["response"]["output"][0]
        assert (call["type"], call["name"]) == ("function_call", "look")
        assert call["id"] != "mine"


async def test_events_after_the_end_of_a_session_start_nothing() -> None:
    async with client_of() as client:
        await update(client)
        await client.close()
        told = len(client.events)
        for kind in HANDLERS:
            await handle_event(client.rt, {"type": kind, "item": HELLO})
        await asyncio.sleep(1)
        assert len(client.events) == told
