"""A real server on a free port of this machine, with fake systems behind it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection

from backtalk.audio.pcm import pcm_to_int16_bytes
from backtalk.echo import build_echo
from backtalk.models.store import ModelStore
from backtalk.server.agent_pool import AgentPool
from backtalk.server.app import build_app
from backtalk.server.drain import DrainingServer, build_server, listen
from backtalk.server.service import Service
from backtalk.server.settings import ServerSettings
from backtalk.systems import FrameAgent, TurnAgent
from fakes import FakeResponder, FakeTurnDetector, FakeVad


def fake_pool() -> AgentPool:
    """`cascade`, a fake that answers every turn, and `echo`."""
    turns = TurnAgent(FakeResponder(), FakeVad(), FakeTurnDetector())
    return AgentPool({"cascade": turns, "echo": FrameAgent(build_echo(ModelStore.default()))})


@dataclass
class Running:
    """The server and how to reach it."""

    service: Service
    server: DrainingServer
    address: str

    @contextlib.asynccontextmanager
    async def client(self, query: str = "model=echo", **options: Any) -> AsyncIterator[Client]:
        uri = f"ws://{self.address}/v1/realtime?{query}"
        async with websockets.connect(uri, compression=None, **options) as socket:
            yield Client(socket)


class Client:
    """A Realtime client as simple as can be."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def append(self, pcm: np.ndarray) -> None:
        audio = base64.b64encode(pcm_to_int16_bytes(pcm)).decode()
        await self.send("input_audio_buffer.append", audio=audio)

    async def next(self, *types: str, within_s: float = 5.0) -> dict[str, Any]:
        """The next event of one of these types (any if none are given)."""
        async with asyncio.timeout(within_s):
            while True:
                event = json.loads(await self.socket.recv())
                if not types or event["type"] in types:
                    return dict(event)

    async def close_code(self, within_s: float = 5.0) -> int | None:
        """Read to the end; the code with which the server closed."""
        async with asyncio.timeout(within_s):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code


@contextlib.asynccontextmanager
async def running(pool: AgentPool | None = None, **settings: Any) -> AsyncIterator[Running]:
    """A warm server; it is stopped, without waiting for replies, at the end."""
    chosen = ServerSettings(port=0, **settings)
    app = build_app(pool or fake_pool(), chosen)
    server = build_server(app, chosen)
    listener = listen(chosen)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await app.state.service.agents.until_warm()
        port = listener.getsockname()[1]
        yield Running(app.state.service, server, f"127.0.0.1:{port}")
    finally:
        server.should_exit = True
        await serving
