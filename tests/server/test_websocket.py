"""The WebSocket route, on real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace

import numpy as np
import pytest
import websockets
from running import Client, running

from backtalk.audio.pcm import pcm_from_int16_bytes
from backtalk.realtime.limits import Limits
from fakes import silence, word

pytestmark = pytest.mark.realtime

LIMITS = Limits()


async def test_audio_comes_back_from_the_echo_in_order_and_whole() -> None:
    pcm = np.linspace(-0.5, 0.5, 24 * 400, dtype=np.float32)
    back: list[np.ndarray] = []
    async with running() as server, server.client() as client:
        assert (await client.next())["type"] == "session.created"
        for at in range(0, len(pcm), 480):
            await client.append(pcm[at : at + 480])
        while sum(map(len, back)) < len(pcm):
            audio = await client.next("response.output_audio.delta")
            back.append(pcm_from_int16_bytes(base64.b64decode(audio["delta"])))
    np.testing.assert_allclose(np.concatenate(back), pcm, atol=1 / 32767)


async def test_a_spoken_turn_is_answered_and_measured() -> None:
    async with running() as server, server.client("model=cascade") as client:
        await ask(client)
        done = await client.next("response.done", within_s=10)
        assert done["response"]["status"] == "completed"
        await asyncio.sleep(0.5)
        text = server.service.metrics.render().decode()
    assert 'backtalk_ttfa_ms_count{system="fake"} 1.0' in text


async def ask(client: Client) -> None:
    """Ask the fake agent something at 24 kHz, and wait until it begins to answer."""
    question = np.concatenate([word("what", 300), word("time", 300), silence(1000)])
    pcm = np.repeat(question, 3)[::2]
    for at in range(0, len(pcm), 480):
        await client.append(pcm[at : at + 480])
        await asyncio.sleep(0.018)
    await client.next("response.created")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_json"),
        ("null", "invalid_event"),
        ("[]", "invalid_event"),
        ("{", "invalid_json"),
        ('{"type": 7}', "invalid_event"),
        ('{"type": "session.update", "session": {"speed": NaN}}', "invalid_json"),
        ('{"type": "x", "y": "\\ud800"}', "invalid_json"),
        ("[" * 10_000, "invalid_json"),
        ('{"type": "x", "y": ' + "[" * 60 + "]" * 60 + "}", "event_too_complex"),
        ('{"type": "x"' + "".join(f',"k{n}":0' for n in range(5000)) + "}", "event_too_complex"),
        ('{"type": "there.is.no.such.event"}', "unknown_event"),
        ('{"type": "input_audio_buffer.append", "audio": 7}', None),
        ('{"type": "input_audio_buffer.append", "audio": "*"}', None),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', None),
        ('{"type": "session.update", "session": 3}', None),
    ],
)
async def test_bad_messages_are_answered_and_the_session_goes_on(
    text: str, code: str | None
) -> None:
    async with running() as server, server.client() as client:
        await client.socket.send(text)
        error = await client.next("error")
        assert code is None or error["error"]["code"] == code
        await client.append(np.zeros(480, np.float32))
        await client.next("response.output_audio.delta")


async def test_repeated_bad_messages_close_the_connection() -> None:
    async with running() as server, server.client() as client:
        for _ in range(40):
            await client.socket.send("{")
        assert await client.close_code() == 1008


async def test_appends_without_audio_close_the_connection_in_the_end() -> None:
    async with running() as server, server.client() as client:
        for _ in range(LIMITS.empty_appends + 1):
            await client.send("input_audio_buffer.append", audio="")
        assert await client.close_code() == 1008


async def test_binary_messages_close_with_1003() -> None:
    async with running() as server, server.client() as client:
        await client.socket.send(b"\x00\x01")
        error = await client.next("error")
        assert error["error"]["code"] == "binary_message"
        assert await client.close_code() == 1003


async def test_a_message_that_is_too_big_is_answered_and_closed_with_1009() -> None:
    limits = replace(LIMITS, message_bytes=10_000)
    async with running(limits=limits) as server, server.client() as client:
        await client.socket.send("x" * 5_000_000)
        error = await client.next("error")
        assert error["error"]["code"] == "websocket_error"
        assert await client.close_code() == 1009


async def test_text_that_is_not_utf8_closes_with_1007() -> None:
    async with running() as server, server.client() as client:
        await client.socket.send(b"\xff\xfe", text=True)
        assert await client.close_code() == 1007


async def test_a_thousand_fragments_are_one_message() -> None:
    text = json.dumps({"type": "no.such.event", "event_id": "x" * 900})
    async with running() as server, server.client() as client:
        await client.socket.send(iter(text))
        assert (await client.next("error"))["error"]["code"] == "unknown_event"


async def test_a_silent_client_is_closed_as_idle() -> None:
    async with running(limits=replace(LIMITS, idle_s=0.3)) as server, server.client() as client:
        assert (await client.next("error"))["error"]["code"] == "idle"
        assert await client.close_code() == 1000


async def test_a_session_ends_when_its_time_is_over() -> None:
    async with running(limits=replace(LIMITS, session_s=0.3)) as server, server.client() as client:
        assert (await client.next("error"))["error"]["code"] == "session_expired"
        assert await client.close_code() == 1000


async def test_an_unknown_model_is_named_and_an_openai_model_is_the_default() -> None:
    async with running() as server:
        async with server.client("model=no-such-system") as client:
            assert (await client.next("error"))["error"]["code"] == "model_not_found"
            assert await client.close_code() == 1008
        async with server.client("model=gpt-realtime") as client:
            assert (await client.next())["session"]["model"] == "cascade"


async def test_a_full_server_says_so_at_once_and_a_place_is_free_when_a_client_leaves() -> None:
    limits = replace(LIMITS, sessions=1)
    async with running(limits=limits) as server:
        async with server.client() as first:
            await first.next("session.created")
            began_s = asyncio.get_running_loop().time()
            async with server.client() as second:
                error = await second.next("error")
                assert asyncio.get_running_loop().time() - began_s < 0.5
                assert error["error"]["code"] == "at_capacity"
                assert error["error"]["retry_after_s"] > 0
                assert await second.close_code() == 1013
        await asyncio.sleep(0.1)
        async with server.client() as third:
            await third.next("session.created")


async def test_a_client_that_reads_nothing_is_closed_and_its_audio_in_flight_is_bounded() -> None:
    limits = replace(LIMITS, live_unacknowledged_ms=400, stalled_s=1.0, ping_s=0.5)
    loop = asyncio.get_running_loop()
    async with running(limits=limits) as server:
        host, port = server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        uri = websockets.uri.parse_uri(f"ws://{server.address}/v1/realtime?model=echo")
        protocol = websockets.client.ClientProtocol(uri)
        protocol.send_request(protocol.connect())
        writer.write(b"".join(protocol.data_to_send()))
        await reader.readuntil(b"\r\n\r\n")
        protocol.state = websockets.protocol.State.OPEN
        audio = base64.b64encode(bytes(960)).decode()
        append = json.dumps({"type": "input_audio_buffer.append", "audio": audio}).encode()
        began_s, most_ms = loop.time(), 0.0
        while server.service.admission.taken or loop.time() < began_s + 0.5:
            assert loop.time() - began_s < 5
            protocol.send_text(append)
            writer.write(b"".join(protocol.data_to_send()))
            await asyncio.sleep(0.02)
            in_flight = server.service.metrics.inflight_audio_ms._value.get()
            most_ms = max(most_ms, in_flight)
        writer.transport.abort()
        closed = 'backtalk_ws_close_total{code="1008"} 1.0'
        assert closed in server.service.metrics.render().decode()
    assert 0 < most_ms <= 400 + 40


async def test_ten_thousand_tiny_appends_do_not_hold_up_another_session() -> None:
    async with running() as server, server.client() as flood, server.client() as calm:
        audio = base64.b64encode(bytes(2)).decode()
        tiny = json.dumps({"type": "input_audio_buffer.append", "audio": audio})

        async def pour() -> None:
            for _ in range(10_000):
                await flood.socket.send(tiny)

        pouring = asyncio.create_task(pour())
        await asyncio.sleep(0.2)
        began_s = asyncio.get_running_loop().time()
        await calm.append(np.zeros(480, np.float32))
        await calm.next("response.output_audio.delta")
        assert asyncio.get_running_loop().time() - began_s < 0.5
        flood.socket.transport.abort()
        await asyncio.gather(pouring, return_exceptions=True)


@pytest.mark.parametrize("says_so_in", ["header", "subprotocol", "first event"])
async def test_a_client_of_the_beta_is_spoken_to_in_its_own_names(says_so_in: str) -> None:
    options: dict[str, object] = {}
    if says_so_in == "header":
        options = {"additional_headers": {"OpenAI-Beta": "realtime=v1"}}
    elif says_so_in == "subprotocol":
        options = {"subprotocols": ["realtime", "openai-beta.realtime-v1"]}
    async with running() as server, server.client(**options) as client:
        await client.send("session.update", session={"modalities": ["text", "audio"]})
        updated = await client.next("session.updated")
        assert updated["session"]["input_audio_format"] == "pcm16"
        await client.append(np.zeros(480, np.float32))
        await client.next("response.audio.delta")
