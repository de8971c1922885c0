"""What the fuzz tests and the state machine found, each as one short conversation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from test_realtime_session import agent_with, client_of, turn_detection, update

from fakes import FakeResponder, silence, word

HELLO = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hello"}],
}
LONG_REPLY = [f"w{n}" for n in range(30)]


async def say_noise_over_a_reply(client: Any) -> None:
    """Leaves the reply paused: it is not clear yet what the noise is."""
    await client.send("conversation.item.create", item=HELLO)
    await client.send("response.create")
    await asyncio.sleep(1)
    await client.speak(word("noise", 1000))


async def no_response_is_left(client: Any) -> None:
    await client.speak(silence(8000))
    done = client.of("response.done")
    assert [event["response"]["status"] for event in done] == ["completed"]
    await client.send("response.create")
    assert not client.of("error")


async def test_a_reply_goes_on_when_what_paused_it_is_cleared() -> None:
    async with client_of(agent_with(FakeResponder(reply_words=LONG_REPLY))) as client:
        await say_noise_over_a_reply(client)
        await client.send("input_audio_buffer.clear")
        await no_response_is_left(client)


async def test_a_reply_goes_on_when_what_paused_it_is_committed() -> None:
    async with client_of(agent_with(FakeResponder(reply_words=LONG_REPLY))) as client:
        await say_noise_over_a_reply(client)
        await client.send("input_audio_buffer.commit")
        await no_response_is_left(client)


@pytest.mark.parametrize("detection", [None, {"type": "semantic_vad", "interrupt_response": False}])
async def test_a_reply_goes_on_when_nothing_may_interrupt_it_any_more(detection: Any) -> None:
    async with client_of(agent_with(FakeResponder(reply_words=LONG_REPLY))) as client:
        await say_noise_over_a_reply(client)
        await update(client, **turn_detection(detection))
        await no_response_is_left(client)


async def test_an_item_follows_one_that_the_client_knows() -> None:
    async with client_of() as client:
        await client.send("conversation.item.create", item={**HELLO, "id": "one"})
        await client.send("response.create")
        await asyncio.sleep(0.01)
        await client.send("conversation.item.create", item=HELLO)
        assert client.last("conversation.item.added")["previous_item_id"] == "one"


async def test_an_item_does_not_follow_a_reply_that_failed_before_its_first_word() -> None:
    async with client_of(agent_with(FakeResponder(fail_after_words=0))) as client:
        await client.send("conversation.item.create", item={**HELLO, "id": "one"})
        await client.send("response.create")
        await asyncio.sleep(1)
        assert client.last("response.done")["response"]["output"] == []
        await client.send("conversation.item.create", item=HELLO)
        assert client.last("conversation.item.added")["previous_item_id"] == "one"


@pytest.mark.filterwarnings("ignore")
async def test_a_response_out_of_band_that_breaks_is_told_to_have_failed() -> None:
    responder = FakeResponder(reply_words=[None])  # type: ignore[list-item]
    async with client_of(agent_with(responder)) as client:
        response = {"conversation": "none", "input": [HELLO]}
        await client.send("response.create", response=response)
        await asyncio.sleep(1)
        assert client.last("response.done")["response"]["status"] == "failed"


async def test_speech_stops_once_whatever_becomes_of_a_reply_meanwhile() -> None:
    responder = FakeResponder(fail_after_words=0, first_audio_s=0.0)
    async with client_of(agent_with(responder)) as client:
        await client.send("conversation.item.create", item=HELLO)
        await client.speak(word("hello", 300))
        await client.send("response.create")
        await client.speak(word("what", 500))
        await client.send("input_audio_buffer.commit")
        await asyncio.sleep(1)
        assert len(client.of("input_audio_buffer.speech_stopped")) == 1
