"""Other voices over the wire: a converter's session, and an agent that speaks in another voice."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import pytest
from running import Client, running

from backtalk.llvc.config import llvc_small
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.llvc_system import LlvcSystem
from backtalk.llvc.random_voice import random_voice
from backtalk.server.agent_pool import AgentPool
from backtalk.session.converted_responder import ConvertedResponder
from backtalk.systems import FrameAgent, TurnAgent
from fakes import FakeResponder, FakeTurnDetector, FakeVad

pytestmark = pytest.mark.realtime

WIRE_RATE = 24_000
CHUNK = WIRE_RATE // 50


def small_llvc() -> LlvcSystem:
    """Frames of 3 ms."""
    voice = random_voice(0, llvc_small().without_prenet())
    return LlvcSystem(LlvcEngine(voice, chunk_factor=4))


async def heard_until(client: Client, last: str) -> tuple[np.ndarray, list[dict]]:
    """All sound, int16, and all events until one of the type `last`."""
    events: list[dict] = []
    while not events or events[-1]["type"] != last:
        events.append(await client.next(within_s=20))
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    return np.frombuffer(b"".join(map(base64.b64decode, deltas)), "<i2"), events


async def test_a_converters_session_is_one_response_and_says_how_it_keeps_time() -> None:
    async with (
        running(AgentPool({"llvc": FrameAgent(small_llvc(), slots=2)})) as server,
        server.client("model=llvc") as client,
    ):
        await client.next("session.created")
        await client.send("session.update", session={"include": ["backtalk.latency"]})
        await client.next("session.updated")
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 50 * CHUNK).astype(np.float32)
        for at in range(0, noise.size, CHUNK):
            await client.append(noise[at : at + CHUNK])
            await asyncio.sleep(0.02)
        heard, events = await heard_until(client, "backtalk.steps.measured")
    kinds = [event["type"] for event in events]
    assert kinds.count("response.created") == 1
    assert not any(kind.startswith("input_audio_buffer") for kind in kinds)
    measured = events[-1]
    assert measured["steps"] == 100
    assert measured["step_p50_ms"] <= measured["step_p95_ms"] <= measured["step_p99_ms"]
    assert measured["floor_ms"] == 3.25
    assert measured["dropped_ms"] % 3 == 0
    assert heard.size > 0.2 * WIRE_RATE
    assert np.abs(heard).max() > 100


async def test_a_converted_reply_is_as_long_on_the_wire_as_the_plain_one() -> None:
    sizes = []
    for responder in (FakeResponder(), ConvertedResponder(FakeResponder(), small_llvc())):
        pool = AgentPool({"agent": TurnAgent(responder, FakeVad(), FakeTurnDetector())})
        async with running(pool) as server, server.client("model=agent") as client:
            content = [{"type": "input_text", "text": "what time is it"}]
            item = {"type": "message", "role": "user", "content": content}
            await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            heard, events = await heard_until(client, "response.done")
        assert events[-1]["response"]["status"] == "completed"
        sizes.append(heard.size)
    assert sizes == [WIRE_RATE, WIRE_RATE]
