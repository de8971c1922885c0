"""The measuring client against a small server on a real socket."""

from __future__ import annotations

import asyncio

import pytest

from backtalk.bench.realtime_client import ConnectError, RealtimeClient, ServerEvent
from bench.fake_realtime import FakeRealtime

pytestmark = pytest.mark.realtime


class Inbox:
    def __init__(self) -> None:
        self.events: list[ServerEvent] = []
        self.changed = asyncio.Event()

    def __call__(self, event: ServerEvent) -> None:
        self.events.append(event)
        self.changed.set()

    async def count(self, n: int) -> None:
        async with asyncio.timeout(5):
            while len(self.events) < n:
                self.changed.clear()
                await self.changed.wait()


@pytest.mark.parametrize("beta", [False, True])
async def test_sound_goes_out_and_comes_back_under_its_present_name(beta: bool) -> None:
    async with FakeRealtime(beta=beta).run() as server:
        inbox = Inbox()
        client = await RealtimeClient.connect(server.url, inbox, model="echo & more")
        client.append(b"\x01\x02" * 480)
        await inbox.count(2)
        await client.close()
        await client.close()
    assert [e.type for e in inbox.events] == ["session.created", "response.output_audio.delta"]
    assert inbox.events[1].pcm16 == b"\x01\x02" * 480
    assert inbox.events[0].at_s <= inbox.events[1].at_s
    assert server.paths == ["/v1/realtime?model=echo%20%26%20more"]
    assert (client.close_code, server.resets) == (1000, 0)


async def test_a_long_message_comes_whole() -> None:
    async with FakeRealtime().run() as server:
        inbox = Inbox()
        client = await RealtimeClient.connect(server.url, inbox)
        sound = bytes(range(256)) * 2000
        client.append(sound)
        await inbox.count(2)
        await client.close()
    assert inbox.events[1].pcm16 == sound


async def test_the_token_is_sent_and_a_refusal_says_why() -> None:
    async with FakeRealtime(token="secret").run() as server:
        client = await RealtimeClient.connect(server.url, Inbox(), token="secret")
        await client.close()
        with pytest.raises(ConnectError, match="401") as refused:
            await RealtimeClient.connect(server.url, Inbox(), token="wrong")
    assert refused.value.code == 401


async def test_a_server_that_is_not_there_is_one_line() -> None:
    async with FakeRealtime().run() as server:
        url = server.url
    with pytest.raises(ConnectError, match="cannot be reached"):
        await RealtimeClient.connect(url, Inbox())
    with pytest.raises(ConnectError, match="use ws://"):
        await RealtimeClient.connect("http://127.0.0.1/", Inbox())


async def test_something_that_is_no_websocket_server_is_told_so() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"220 mail.example ready\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(ConnectError, match="no WebSocket server"):
            await RealtimeClient.connect(f"ws://127.0.0.1:{port}", Inbox())


async def test_a_server_that_never_answers_is_given_up() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(ConnectError, match="did not answer"):
            await RealtimeClient.connect(f"ws://127.0.0.1:{port}", Inbox(), timeout_s=0.2)
        await asyncio.sleep(0.05)


async def test_vanishing_resets_the_connection() -> None:
    async with FakeRealtime().run() as server:
        inbox = Inbox()
        client = await RealtimeClient.connect(server.url, inbox)
        await inbox.count(1)
        client.abort()
        await client.wait_closed()
        async with asyncio.timeout(2):
            while server.active:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert (client.close_code, server.resets) == (1006, 1)
    assert not client.is_open


async def test_a_slow_reader_gets_nothing_until_it_reads_again() -> None:
    async with FakeRealtime().run() as server:
        inbox = Inbox()
        client = await RealtimeClient.connect(server.url, inbox)
        await inbox.count(1)
        client.pause_reading()
        client.append(bytes(960))
        await asyncio.sleep(0.2)
        assert len(inbox.events) == 1
        client.resume_reading()
        await inbox.count(2)
        await client.close()


async def test_hanging_up_while_the_server_still_sends_is_a_clean_end() -> None:
    async with FakeRealtime(spoil=lambda session, frame, pcm: [pcm] * 200).run() as server:
        inbox = Inbox()
        client = await RealtimeClient.connect(server.url, inbox)
        client.append(bytes(960))
        await inbox.count(5)
        await client.close()
    assert client.close_code == 1000
    assert client.protocol_error is None
    assert len(inbox.events) == 201
