"""A client whose socket breaks comes back to its session."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from running import Client, Running, running

from backtalk.realtime.limits import Limits

pytestmark = pytest.mark.realtime

LIMITS = Limits()


async def opt_in(client: Client) -> str:
    """Ask to be able to come back; the token."""
    session = {"type": "realtime", "include": ["backtalk.resume"]}
    await client.send("session.update", session=session)
    return str((await client.next("backtalk.session.resume_token"))["token"])


async def type_something(client: Client, text: str) -> str:
    """Add an item to the conversation; the id of the event that says so."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await client.send("conversation.item.create", item=item)
    added = await client.next("conversation.item.added")
    return str(added["event_id"])


def cut(client: Client) -> None:
    """Break the connection without a word."""
    client.socket.transport.abort()


async def until(condition: Any, within_s: float = 3.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def waits(server: Running) -> None:
    await until(lambda: server.service.registry.waiting == 1)


async def test_everything_after_the_last_event_is_sent_again() -> None:
    async with running() as server:
        async with server.client("model=cascade") as client:
            session_id = (await client.next("session.created"))["session"]["id"]
            token = await opt_in(client)
            last = await type_something(client, "one")
            missed = await client.next("conversation.item.done")
            cut(client)
        await waits(server)
        async with server.client(f"model=cascade&resume={token}&last_event_id={last}") as client:
            resumed = await client.next()
            assert resumed["type"] == "backtalk.session.resumed"
            assert resumed["session"]["id"] == session_id
            assert (await client.next())["event_id"] == missed["event_id"]
            await client.next("backtalk.session.resume_token")
            await type_something(client, "two")
        await until(lambda: server.service.admission.taken == 0)


async def test_audio_that_was_not_heard_is_heard_after_the_return() -> None:
    async with running() as server:
        async with server.client() as client:
            token = await opt_in(client)
            for _ in range(5):
                await client.append(np.full(480, 0.25, np.float32))
            first = await client.next("response.output_audio.delta")
            await asyncio.sleep(0.3)
            cut(client)
        await waits(server)
        query = f"resume={token}&last_event_id={first['event_id']}"
        async with server.client(query) as client:
            again = [await client.next("response.output_audio.delta") for _ in range(4)]
            assert {event["item_id"] for event in again} == {first["item_id"]}
            assert len({event["event_id"] for event in again}) == 4


async def test_a_token_is_good_once_and_the_new_one_again() -> None:
    async with running() as server:
        async with server.client() as client:
            first = await opt_in(client)
            cut(client)
        await waits(server)
        async with server.client(f"resume={first}") as client:
            second = first
            while second == first:  # the first is sent again, if it is not known to have arrived
                second = (await client.next("backtalk.session.resume_token"))["token"]
            await asyncio.sleep(0.5)
            cut(client)
        await waits(server)
        async with server.client(f"resume={first}") as client:
            assert (await client.next("error"))["error"]["code"] == "resume_token_invalid"
            assert await client.close_code() == 1008
        async with server.client(f"resume={second}") as client:
            await client.next("backtalk.session.resumed")


async def test_a_return_that_breaks_before_the_new_token_arrives_can_be_tried_again() -> None:
    async with running() as server:
        async with server.client() as client:
            token = await opt_in(client)
            cut(client)
        await waits(server)
        async with server.client(f"resume={token}") as client:
            cut(client)
        await waits(server)
        async with server.client(f"resume={token}") as client:
            await client.next("backtalk.session.resumed")


async def test_the_newer_of_two_sockets_wins_and_nothing_of_the_older_is_heard() -> None:
    async with running() as server, server.client() as old:
        token = await opt_in(old)
        async with server.client(f"resume={token}") as new:
            await new.next("backtalk.session.resumed")
            assert (await old.next("error"))["error"]["code"] == "session_taken_over"
            assert await old.close_code() == 1008
            await new.append(np.zeros(480, np.float32))
            await new.next("response.output_audio.delta")
            assert server.service.admission.taken == 1


async def test_a_session_whose_client_does_not_come_back_ends() -> None:
    async with running(limits=replace(LIMITS, resume_s=0.3)) as server:
        async with server.client() as client:
            token = await opt_in(client)
            cut(client)
        await waits(server)
        await until(lambda: server.service.admission.taken == 0)
        async with server.client(f"resume={token}") as client:
            assert (await client.next("error"))["error"]["code"] == "resume_token_invalid"
        metrics = server.service.metrics.render().decode()
        assert 'backtalk_sessions_total{result="abandoned"} 1.0' in metrics


async def test_goodbye_ends_the_session_at_once() -> None:
    async with running() as server:
        async with server.client() as client:
            token = await opt_in(client)
        await until(lambda: server.service.admission.taken == 0)
        async with server.client(f"resume={token}") as client:
            assert (await client.next("error"))["error"]["code"] == "resume_token_invalid"


async def test_clients_that_did_not_ask_are_not_waited_for() -> None:
    async with running() as server:
        async with server.client() as client:
            await client.next("session.created")
            cut(client)
        await until(lambda: server.service.admission.taken == 0, within_s=0.5)


async def test_a_waiting_session_gives_its_place_to_one_who_is_here() -> None:
    async with running(limits=replace(LIMITS, sessions=1)) as server:
        async with server.client() as client:
            token = await opt_in(client)
            cut(client)
        await waits(server)
        async with server.client() as client:
            await client.next("session.created")
            async with server.client(f"resume={token}") as late:
                assert (await late.next("error"))["error"]["code"] == "resume_token_invalid"
