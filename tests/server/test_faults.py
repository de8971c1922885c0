"""Networks, models and endpoints that fail: the session that is hit ends or recovers, others go on.

Audio is stamped: each frame has a level of its own, so that what is lost, repeated, mixed up or
somebody else's is seen.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
import pytest
import websockets
from running import Client, Running, running

from backtalk.audio.pcm import pcm_from_int16_bytes
from backtalk.bench.toxic_proxy import (
    BitFlip,
    Blackhole,
    Latency,
    LimitBytes,
    Slicer,
    ToxicProxy,
)
from backtalk.cascade.cascade import Cascade
from backtalk.cascade.openai_llm import OpenAiDeadlines, OpenAiLlm
from backtalk.cascade.segmenter import build_clause_segmenter
from backtalk.echo import build_echo
from backtalk.models.store import ModelStore
from backtalk.realtime.limits import Limits
from backtalk.server.agent_pool import AgentPool
from backtalk.systems import FrameAgent, TurnAgent
from fakes import FakeAsr, FakeResponder, FakeTts, FakeTurnDetector, FakeVad

pytestmark = pytest.mark.realtime

FRAME = 480
ATOL = 1e-4
HELLO = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hello"}],
}


def stamp(who: int, frame: int) -> float:
    """The level of somebody's frame; nobody else's is within 0.0005 of it."""
    return round(0.1 * who + 0.001 * frame, 6)


async def send_frames(client: Client, who: int, frames: Sequence[int]) -> None:
    for frame in frames:
        await client.append(np.full(FRAME, stamp(who, frame), np.float32))


async def hear_frames(client: Client, who: int, frames: Sequence[int], within_s: float = 5) -> None:
    """The next audio is these frames of this client's, each once and in order."""
    for frame in frames:
        audio = await client.next("response.output_audio.delta", within_s=within_s)
        pcm = pcm_from_int16_bytes(base64.b64decode(audio["delta"]))
        assert len(pcm) == FRAME
        np.testing.assert_allclose(pcm, stamp(who, frame), atol=ATOL)


async def echo(client: Client, who: int, frames: Sequence[int]) -> None:
    await send_frames(client, who, frames)
    await hear_frames(client, who, frames)


@contextlib.asynccontextmanager
async def bad_line(server: Running, seed: int = 0) -> AsyncIterator[tuple[ToxicProxy, str]]:
    """A proxy before the server, and the address behind which it is."""
    host, port = server.address.split(":")
    async with ToxicProxy(host, int(port), seed).run() as proxy:
        yield proxy, f"127.0.0.1:{proxy.port}"


def through(server: Running, address: str) -> Running:
    return Running(server.service, server.server, address)


async def until(condition: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# Networks.


@pytest.mark.parametrize(
    "toxics",
    [
        [Latency(60, 40)],
        [Slicer(1)],
        [Slicer(7, 0.1), Latency(20, 10)],
    ],
    ids=["late and uneven", "in single bytes", "in pieces, late"],
)
async def test_a_bad_line_loses_repeats_and_reorders_nothing(toxics: Any) -> None:
    async with running() as server, bad_line(server) as (proxy, address):
        proxy.set_toxics(*toxics)
        async with through(server, address).client() as client:
            await echo(client, 1, range(15))


async def test_after_a_stall_of_a_second_the_audio_goes_on_where_it_was() -> None:
    async with (
        running() as server,
        bad_line(server) as (proxy, address),
        through(server, address).client() as client,
        server.client() as other,
    ):
        await echo(client, 1, range(5))
        stall = asyncio.create_task(proxy.stall(1.0))
        await asyncio.sleep(0)
        await send_frames(client, 1, range(5, 10))
        await echo(other, 2, range(10))
        assert not stall.done()
        await hear_frames(client, 1, range(5, 10))
        await stall


@pytest.mark.parametrize("how", ["rst", "fin", "half"])
async def test_a_line_that_is_cut_frees_its_place_and_another_client_goes_on(how: Any) -> None:
    async with running() as server, bad_line(server) as (proxy, address), server.client() as other:
        await echo(other, 2, range(5))
        with contextlib.suppress(websockets.ConnectionClosed):
            async with through(server, address).client() as client:
                proxy.set_toxics(Slicer(100, 1.0), direction="up")  # so that it hits a frame
                await send_frames(client, 1, range(5))
                proxy.drop(how)
                await until(lambda: server.service.admission.taken == 1, within_s=2)
        await echo(other, 2, range(5, 10))


async def test_a_line_on_which_nothing_arrives_is_given_up() -> None:
    limits = Limits(ping_s=0.5, stalled_s=1.0)
    async with (
        running(limits=limits) as server,
        bad_line(server) as (proxy, address),
        server.client() as other,
        through(server, address).client(close_timeout=0.1) as client,
    ):
        await echo(client, 1, range(3))
        proxy.set_toxics(Blackhole())
        await send_frames(client, 1, range(3, 20))
        await until(lambda: server.service.admission.taken == 1, within_s=5)
        await echo(other, 2, range(5))
        client.socket.transport.abort()


async def test_a_line_that_ends_in_the_middle_of_a_frame_leaves_no_session() -> None:
    async with running() as server, bad_line(server) as (proxy, address):
        for limit_bytes in (10, 300, 700, 1500):
            proxy.set_toxics(LimitBytes(limit_bytes), direction="up")
            with contextlib.suppress(websockets.WebSocketException, OSError):
                async with through(server, address).client() as client:
                    await send_frames(client, 1, range(5))
                    await client.close_code()
        await until(lambda: server.service.admission.taken == 0, within_s=2)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_flipped_bits_end_in_a_close_or_an_error_and_reach_nobody_else(
    direction: Any,
) -> None:
    async with running() as server, server.client() as other:
        for seed in range(6):
            async with bad_line(server, seed) as (proxy, address):
                with contextlib.suppress(websockets.WebSocketException, OSError, ValueError):
                    async with through(server, address).client(close_timeout=0.2) as client:
                        proxy.set_toxics(BitFlip(2e-4), direction=direction)
                        with contextlib.suppress(TimeoutError):
                            await send_frames(client, 1, range(20))
                            await client.close_code(within_s=0.3)
            await echo(other, 2, range(10 * seed, 10 * seed + 10))
        await until(lambda: server.service.admission.taken == 1, within_s=3)


# Models.


def pool_with(**systems: Any) -> AgentPool:
    turns = TurnAgent(FakeResponder(), FakeVad(), FakeTurnDetector())
    healthy = FrameAgent(build_echo(ModelStore.default()))
    return AgentPool({"cascade": turns, "echo": healthy, **systems})


def ill_echo(**illness: Any) -> FrameAgent:
    return FrameAgent(build_echo(ModelStore.default(), **illness))


async def is_answered(client: Client) -> None:
    await client.send("conversation.item.create", item=HELLO)
    await client.send("response.create", response={"output_modalities": ["text"]})
    assert (await client.next("response.done"))["response"]["status"] == "completed"


async def fails_after(client: Client, who: int, frames: int) -> None:
    """So many frames come back; then the client is told why there are no more, and let go."""
    await send_frames(client, who, range(frames))
    await hear_frames(client, who, range(frames))
    await send_frames(client, who, [frames])
    told = await client.next("error", "response.done")
    assert told["type"] == "error" or told["response"]["status"] == "failed"
    assert await client.close_code() is not None


async def test_a_model_that_breaks_ends_its_sessions_and_serves_the_next_ones() -> None:
    async with (
        running(pool_with(ill=ill_echo(fail_at_step=30))) as server,
        server.client("model=echo") as other,
        server.client("model=cascade") as somebody,
    ):
        for who in (1, 2):
            async with server.client("model=ill") as client:
                await fails_after(client, who, 29)
            await echo(other, 3, range(who, who + 5))
            await is_answered(somebody)
        async with server.client("model=ill") as client:
            await echo(client, 4, range(20))
        await until(lambda: server.service.admission.taken == 2, within_s=2)


async def test_numbers_that_are_none_end_one_session_of_a_model_and_no_other() -> None:
    async with (
        running(pool_with(ill=ill_echo(nan_at_step=30))) as server,
        server.client("model=ill") as same_model,
    ):
        await echo(same_model, 1, range(10))
        async with server.client("model=ill") as client:
            await fails_after(client, 2, 29)
        await echo(same_model, 1, range(10, 25))


# Language model endpoints.


def sse(*words: str) -> bytes:
    deltas = ({"choices": [{"index": 0, "delta": {"content": word}}]} for word in words)
    return b"".join(b"data: " + json.dumps(delta).encode() + b"\n\n" for delta in deltas)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
REPLY = OK + sse("It ", "is ", "four.") + b"data: [DONE]\n\n"
FAULTS: dict[str, tuple[bytes, bool]] = {
    "dies at once": (b"", False),
    "is overloaded": (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", False),
    "never begins": (OK, True),
    "stalls after a word": (OK + sse("It "), True),
    "dies in mid-word": (OK + sse("It ") + sse("is ")[:20], False),
    "speaks no SSE": (OK + b"\x00\xff<html>data\n\ndata: {not json}\n\n", False),
    "floods": (OK + sse(*["word "] * 20_000), False),
}
"""What it sends, and whether it keeps the line open then."""


class Endpoint:
    """A language model's HTTP server: ill while `fault` is set."""

    def __init__(self) -> None:
        self.fault: tuple[bytes, bool] | None = None

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent, stays = self.fault or (REPLY, False)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            await reader.readexactly(length)
            writer.write(sent)
            await writer.drain()
            if stays:
                await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def server_with_endpoint() -> AsyncIterator[tuple[Running, Endpoint]]:
    endpoint = Endpoint()
    listener = await asyncio.start_server(endpoint.answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    deadlines = OpenAiDeadlines(first_token_timeout_s=0.4, stall_timeout_s=0.3)
    llm = OpenAiLlm("m", url, deadlines=deadlines)
    responder = Cascade(FakeAsr(), llm, FakeTts(), build_clause_segmenter)
    remote = TurnAgent(responder, FakeVad(), FakeTurnDetector())
    async with listener, running(pool_with(remote=remote)) as server:
        yield server, endpoint
    await asyncio.sleep(0.05)  # httpx leaves generators for the loop to close


@pytest.mark.parametrize("name", FAULTS)
async def test_an_endpoint_that_fails_costs_one_response(name: str) -> None:
    async with (
        server_with_endpoint() as (server, endpoint),
        server.client("model=remote") as client,
        server.client("model=echo") as other,
    ):
        await is_answered(client)
        endpoint.fault = FAULTS[name]
        await client.send("conversation.item.create", item=HELLO)
        await client.send("response.create", response={"output_modalities": ["text"]})
        failing = asyncio.create_task(client.next("response.done", within_s=3))
        await echo(other, 1, range(20))
        response = (await failing)["response"]
        expected = "completed" if name == "floods" else "failed"
        assert response["status"] == expected, response["status_details"]
        endpoint.fault = None
        await is_answered(client)
