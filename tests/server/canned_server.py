"""A server for tests of the page alone: the real files and headers, and a canned dialogue.

It hears by level: sound is speech, half a second without it ends the turn. Replies are tones.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from backtalk.server.page import page_routes

RATE = 24000
PIECE_MS = 40
AHEAD_MS = 400
STAGES_MS = {
    "end_of_turn_wait": 130.0,
    "asr": 52.0,
    "llm_first_token": 96.0,
    "first_chunk": 78.0,
    "tts_first_audio": 84.0,
    "hold": 41.0,
    "leading_silence": 22.0,
    "transport": 28.0,
}
MODELS = [
    {
        "id": "cascade",
        "object": "model",
        "voices": ["joe", "kusal"],
        "backtalk": {"asr": "whisper-tiny.en", "llm": "smollm2-135m", "tts": "hibari heart"},
    },
    {"id": "echo", "object": "model", "kind": "converter"},
]


@dataclass(slots=True)
class CannedServer:
    """What the test sets, and what it looks at afterwards.

    Attributes:
        url: of the page.
        replies: (what the user is heard to say, what is answered), one a turn, over and over.
        reply_s: length of a reply's sound.
        token: asked of everybody; empty asks nobody.
        is_full: refuse every session.
        received: every client event so far, in order.
        queries: query parameters of every connect.
        news: notified at every client event.
    """

    url: str = ""
    replies: list[tuple[str, str]] = field(default_factory=lambda: [("Hello.", "Hello to you.")])
    reply_s: float = 1.0
    token: str = ""
    is_full: bool = False
    received: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    session: CannedSession | None = None
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """The client events of one type."""
        return [event for event in self.received if event["type"] == kind]


class CannedSession:
    """One dialogue; it outlives its socket."""

    def __init__(self, server: CannedServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._log: list[dict[str, Any]] = []
        self._socket: WebSocket | None = None
        self._reply: asyncio.Task[None] | None = None
        self._turns = itertools.cycle(server.replies)
        self._user_item: str | None = None
        self._heard: dict[str, str] = {}  # item id -> what of its text was heard
        self._speech_ms = self._silence_ms = self._heard_ms = 0.0
        self._includes: list[str] = []
        self._turn_detection: Any = None

    async def attach(self, socket: WebSocket, after: str | None) -> None:
        """Serve one socket until it closes; `after` is the last event its client has seen."""
        self._socket = socket
        if after is None:
            await self.emit("session.created", session={"type": "realtime"})
        else:
            seen = next(i for i, event in enumerate(self._log) if event["event_id"] == after) + 1
            missed = self._log[seen:]
            await self.emit("backtalk.session.resumed", session={"type": "realtime"})
            for event in missed:
                await socket.send_json(event)
            await self._give_token()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await self._handle(json.loads(await socket.receive_text()))

    async def drop_socket(self) -> None:
        """Lose the connection, as a network would."""
        socket, self._socket = self._socket, None
        assert socket is not None
        await socket.close(1011)

    async def stop(self) -> None:
        """End what is running."""
        if self._reply is not None:
            self._reply.cancel()
            await asyncio.gather(self._reply, return_exceptions=True)

    async def emit(self, kind: str, **fields: Any) -> None:
        """Send an event, or keep it for a client that comes back."""
        event = {"type": kind, "event_id": f"event_{len(self._log) + 1}", **fields}
        self._log.append(event)
        if self._socket is not None:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await self._socket.send_json(event)

    async def _give_token(self) -> None:
        token = f"again-{next(self._numbers)}"
        await self.emit("backtalk.session.resume_token", token=token, expires_in_s=60)

    async def _handle(self, event: dict[str, Any]) -> None:
        async with self._server.news:
            self._server.received.append(event)
            self._server.news.notify_all()
        match event["type"]:
            case "session.update":
                self._includes = event["session"]["include"]
                self._turn_detection = event["session"]["audio"]["input"]["turn_detection"]
                await self.emit("session.updated", session=event["session"])
                if "backtalk.resume" in self._includes:
                    await self._give_token()
            case "input_audio_buffer.append":
                await self._hear(base64.b64decode(event["audio"]))
            case "input_audio_buffer.commit":
                await self._end_turn()
            case "conversation.item.create":
                item = {"id": f"item_{next(self._numbers)}", **event["item"]}
                await self.emit("conversation.item.added", item=item)
            case "response.create":
                self._start_reply()
            case "response.cancel":
                await self.stop()
            case "conversation.item.truncate":
                await self.emit("conversation.item.truncated", **_without_type(event))
            case "conversation.item.retrieve":
                said = {"type": "output_audio", "transcript": self._heard[event["item_id"]]}
                item = {"id": event["item_id"], "role": "assistant", "content": [said]}
                await self.emit("conversation.item.retrieved", item=item)

    async def _hear(self, pcm16: bytes) -> None:
        pcm = np.frombuffer(pcm16, "<i2") / 32768
        duration_ms = 1000 * len(pcm) / RATE
        is_loud = float(np.sqrt(np.mean(pcm**2))) > 0.02
        self._heard_ms += duration_ms
        self._speech_ms = self._speech_ms + duration_ms if is_loud else self._speech_ms
        self._silence_ms = 0.0 if is_loud else self._silence_ms + duration_ms
        if self._turn_detection is None:
            return
        if self._user_item is None and self._speech_ms >= 100:
            await self._start_turn()
        if self._user_item is not None and self._silence_ms >= 500:
            await self._end_turn()
            self._start_reply()
        if self._user_item is None and self._silence_ms >= 500:
            self._speech_ms = 0.0

    async def _start_turn(self) -> None:
        self._user_item = f"item_{next(self._numbers)}"
        started = "input_audio_buffer.speech_started"
        await self.emit(started, item_id=self._user_item, audio_start_ms=self._heard_ms)
        if self._reply is not None and not self._reply.done():
            await asyncio.sleep(0.15)  # the words decide
            await self.stop()
        words = self._server.replies[0][0].split()
        for count in range(1, len(words)):
            heard = " ".join(words[:count])
            partial = "backtalk.transcript.partial"
            await self.emit(partial, item_id=self._user_item, transcript=heard)

    async def _end_turn(self) -> None:
        item_id = self._user_item or f"item_{next(self._numbers)}"
        self._user_item, self._speech_ms = None, 0.0
        if self._turn_detection is not None:
            stopped = "input_audio_buffer.speech_stopped"
            await self.emit(stopped, item_id=item_id, audio_end_ms=self._heard_ms)
        self._turn = next(self._turns)
        await self.emit("input_audio_buffer.committed", item_id=item_id)
        item = {"id": item_id, "role": "user", "content": [{"type": "input_audio"}]}
        await self.emit("conversation.item.added", item=item)
        completed = "conversation.item.input_audio_transcription.completed"
        await self.emit(completed, item_id=item_id, content_index=0, transcript=self._turn[0])

    def _start_reply(self) -> None:
        self._reply = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        number = next(self._numbers)
        ids = {"response_id": f"resp_{number}", "item_id": f"item_{number}"}
        text = getattr(self, "_turn", self._server.replies[0])[1]
        await asyncio.sleep(0.1)
        response = {"id": ids["response_id"], "status": "in_progress", "output": []}
        await self.emit("response.created", response=response)
        item = {"id": ids["item_id"], "type": "message", "role": "assistant", "content": []}
        await self.emit("response.output_item.added", response_id=ids["response_id"], item=item)
        await self.emit("conversation.item.added", item=item)
        words = text.split(" ")
        pieces = max(len(words), int(1000 * self._server.reply_s / PIECE_MS))
        status, said = "cancelled", ""
        began_s = asyncio.get_running_loop().time()
        try:
            for piece in range(pieces):
                word = piece * len(words) // pieces
                if word != (piece - 1) * len(words) // pieces or piece == 0:
                    delta = words[word] + (" " if word + 1 < len(words) else "")
                    await self.emit("response.output_audio_transcript.delta", **ids, delta=delta)
                    said += delta
                    self._heard[ids["item_id"]] = " ".join(words[: max(0, word - 1)])
                await self.emit("response.output_audio.delta", **ids, delta=_tone(piece))
                sent_s = PIECE_MS * (piece + 1) / 1000
                ahead_s = sent_s - (asyncio.get_running_loop().time() - began_s)
                await asyncio.sleep(max(0.0, ahead_s - AHEAD_MS / 1000))
            status = "completed"
        finally:
            await self.emit("response.output_audio.done", **ids)
            await self.emit("response.output_audio_transcript.done", **ids, transcript=said)
            response = {"id": ids["response_id"], "status": status, "output": [item]}
            await self.emit("response.done", response=response)
            await self._measure(ids, number, status)

    async def _measure(self, ids: dict[str, str], number: int, status: str) -> None:
        if "backtalk.latency" not in self._includes:
            return
        rng = np.random.default_rng(number)
        stages = {name: round(ms * rng.uniform(0.7, 1.5), 1) for name, ms in STAGES_MS.items()}
        await self.emit(
            "backtalk.turn.measured",
            **ids,
            ttfa_ms=sum(stages.values()),
            stages_ms=stages,
            rtf=0.3,
            barge_in_ms=212.0 if status == "cancelled" else None,
            underruns=0,
        )


def _tone(piece: int) -> str:
    """40 ms of a tone, in phase with the piece before."""
    t = (np.arange(RATE * PIECE_MS // 1000) + piece * RATE * PIECE_MS // 1000) / RATE
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 2.3 * t)
    pcm = 0.25 * swell * np.sin(2 * np.pi * 440 * t)
    return base64.b64encode((pcm * 32767).astype("<i2").tobytes()).decode()


def _without_type(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("type", "event_id")}


def _app(server: CannedServer) -> Starlette:
    async def models(request: Request) -> Response:
        wanted = f"Bearer {server.token}" if server.token else None
        if wanted and request.headers.get("authorization") != wanted:
            return JSONResponse({"error": {"code": "invalid_api_key"}}, status_code=401)
        return JSONResponse({"object": "list", "data": MODELS})

    async def realtime(socket: WebSocket) -> None:
        offered = socket.scope["subprotocols"]
        assert "realtime" in offered
        if server.token and f"openai-insecure-api-key.{server.token}" not in offered:
            await socket.close(1008)
            return
        server.queries.append(dict(socket.query_params))
        await socket.accept(subprotocol="realtime")
        if server.is_full:
            error = {"type": "server_error", "code": "at_capacity", "message": "full"}
            await socket.send_json({"type": "error", "event_id": "event_0", "error": error})
            await socket.close(1013)
            return
        after = socket.query_params.get("last_event_id")
        if after is None or server.session is None:
            server.session = CannedSession(server)
        await server.session.attach(socket, after)

    return Starlette(
        routes=[
            *page_routes(),
            Route("/v1/models", models),
            WebSocketRoute("/v1/realtime", realtime),
        ]
    )


@asynccontextmanager
async def canned_server(**settings: Any) -> AsyncIterator[CannedServer]:
    """Run a canned server on a free port of this event loop."""
    server = CannedServer(**settings)
    config = uvicorn.Config(
        _app(server), port=0, log_level="warning", lifespan="off", ws="websockets-sansio"
    )
    runner = uvicorn.Server(config)
    serving = asyncio.create_task(runner.serve())
    while not runner.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    port = runner.servers[0].sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/"
    try:
        yield server
    finally:
        if server.session is not None:
            await server.session.stop()
        runner.should_exit = runner.force_exit = True
        await serving
