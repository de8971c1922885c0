"""How a server stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import websockets
from running import Client, running

from backtalk.errors import ConfigError
from backtalk.realtime.limits import Limits
from backtalk.server.drain import listen
from backtalk.server.settings import ServerSettings

pytestmark = pytest.mark.realtime


async def ask_in_text(client: Client) -> None:
    content = [{"type": "input_text", "text": "what time is it"}]
    item = {"type": "message", "role": "user", "content": content}
    await client.send("conversation.item.create", item=item)
    await client.send("response.create")
    await client.next("response.created")


async def test_a_running_reply_ends_and_nobody_new_gets_in() -> None:
    async with running() as server, server.client("model=cascade") as client:
        await ask_in_text(client)
        server.server.start_draining()
        await asyncio.sleep(0.1)
        async with httpx.AsyncClient(base_url=f"http://{server.address}") as http:
            assert (await http.get("/ready")).status_code == 503
            assert (await http.get("/live")).status_code == 200
        async with server.client("model=cascade") as late:
            assert (await late.next("error"))["error"]["code"] == "server_restarting"
            assert await late.close_code() == 1012
        done = await client.next("response.done")
        assert done["response"]["status"] == "completed"
        assert (await client.next("error"))["error"]["code"] == "server_stopping"
        assert await client.close_code() == 1001


async def test_a_reply_that_takes_too_long_is_not_waited_for() -> None:
    limits = replace(Limits(), drain_s=0.2)
    async with running(limits=limits) as server, server.client("model=cascade") as client:
        await ask_in_text(client)
        began_s = time.monotonic()
        server.server.start_draining()
        assert await client.close_code() == 1001
        assert time.monotonic() - began_s < 0.8


async def test_a_taken_port_is_one_line() -> None:
    first = listen(ServerSettings(port=0))
    try:
        with pytest.raises(ConfigError, match="--port"):
            listen(ServerSettings(port=first.getsockname()[1]))
    finally:
        first.close()


async def test_a_connection_that_sends_no_request_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backtalk.server.acked_websocket.HANDSHAKE_S", 0.3)
    async with running() as server:
        host, port = server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/realtime HTTP/1.1\r\nHost: loc")
        async with asyncio.timeout(2):
            assert await reader.read() == b""
        writer.close()
        async with server.client() as client:  # one that speaks is not
            await asyncio.sleep(0.5)
            await client.next("session.created")


_SERVE = """
import sys
from backtalk.cli.serve import serve
from backtalk.errors import BacktalkError
try:
    serve(system=["echo"], port=int(sys.argv[1]), set_=[])
except BacktalkError as error:
    sys.exit(f"backtalk: {error}")
"""


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`backtalk serve --system echo` in a process of its own, and its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, "0", stderr=asyncio.subprocess.PIPE, env=os.environ
    )
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(30):
        while not (found := re.search(r"http://(\S+:\d+)/ ?", said)):
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
    try:
        yield process, found[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_signal_stops_an_idle_server_at_once_and_it_exits_with_0() -> None:
    async with serving() as (process, address):
        async with websockets.connect(f"ws://{address}/v1/realtime?model=echo") as socket:
            await socket.recv()
            began_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await socket.recv()
            assert socket.close_code == 1001
        assert await process.wait() == 0
        assert time.monotonic() - began_s < 5


async def test_a_second_signal_does_not_wait() -> None:
    async with (
        serving() as (process, address),
        websockets.connect(f"ws://{address}/v1/realtime?model=echo") as socket,
    ):
        await socket.recv()
        socket.transport.pause_reading()
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert time.monotonic() - began_s < 1.5
        socket.transport.abort()
