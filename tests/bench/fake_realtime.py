"""A minimal Realtime server that gives its input back, with faults on request."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed


@dataclass
class FakeRealtime:
    """How the server behaves.

    Attributes:
        slots: sessions at once; more are refused as a real server would.
        spoil: called with a session's number, a frame's number and the sound to send back; gives
            what is sent instead.
        delay_s: from a frame to its echo.
        beta: use the event names of the beta protocol.
        token: what must come as a bearer token.
        rss_bytes: what /metrics says, None for no /metrics.
    """

    slots: int = 64
    spoil: Callable[[int, int, bytes], list[bytes]] = lambda session, frame, pcm: [pcm]
    delay_s: float = 0.0
    beta: bool = False
    token: str | None = None
    rss_bytes: Callable[[], int] | None = None
    active: int = 0
    total: int = 0
    resets: int = 0
    paths: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    @asynccontextmanager
    async def run(self) -> AsyncIterator[FakeRealtime]:
        server = await serve(
            self._talk,
            "127.0.0.1",
            0,
            process_request=self._request,
            compression=None,
            close_timeout=1,
        )
        async with server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        if request.path == "/metrics":
            if self.rss_bytes is None:
                return connection.respond(HTTPStatus.NOT_FOUND, "no metrics\n")
            text = f"# HELP x\nbacktalk_rss_bytes {self.rss_bytes()}\nbacktalk_open_fds 12.0\n"
            text += f"backtalk_sessions_active {self.active}\n"
            return connection.respond(HTTPStatus.OK, text)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        return None

    async def _talk(self, socket: ServerConnection) -> None:
        if self.active >= self.slots:
            error = {"type": "error", "error": {"code": "at_capacity", "message": "full"}}
            await socket.send(json.dumps(error))
            await socket.close(1013)
            return
        self.active += 1
        self.total += 1
        try:
            await self._serve(socket, self.total)
        except ConnectionClosed:
            self.resets += 1
        finally:
            self.active -= 1

    async def _serve(self, socket: ServerConnection, session: int) -> None:
        delta = "response.audio.delta" if self.beta else "response.output_audio.delta"
        await socket.send(json.dumps({"type": "session.created", "session": {"id": "sess_1"}}))
        frame = 0
        async for message in socket:
            event = json.loads(message)
            if event["type"] != "input_audio_buffer.append":
                continue
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            pcm = base64.b64decode(event["audio"])
            for piece in self.spoil(session, frame, pcm):
                audio = base64.b64encode(piece).decode()
                await socket.send(json.dumps({"type": delta, "delta": audio}))
            frame += 1
