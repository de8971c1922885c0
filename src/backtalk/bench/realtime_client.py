"""A client of any OpenAI Realtime server, made for measuring: lean, and exact about when.

The WebSocket protocol is that of the `websockets` library without its tasks and queues: an event
is stamped and handed over in the same call in which its bytes arrive, so what is measured is the
server. Event names of the beta protocol are translated to those of the present one.
"""

from __future__ import annotations

import asyncio
import binascii
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import orjson
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from backtalk.errors import BacktalkError

SAMPLE_RATE = 24000
"""Hz of PCM16 in the Realtime protocol."""
MAX_MESSAGE_BYTES = 16 << 20

_BETA_NAMES = {
    f"response.{beta}.{what}": f"response.output_{beta}.{what}"
    for beta in ("audio", "audio_transcript", "text")
    for what in ("delta", "done")
}


class ConnectError(BacktalkError):
    """The server cannot be reached, or refused the connection.

    Attributes:
        code: HTTP status or WebSocket close code, None if there was no answer.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of the server.

    Attributes:
        at_s: when its bytes arrived, seconds on the event loop's monotonic clock.
        type: its name in the present protocol.
        data: the event as it came.
    """

    at_s: float
    type: str
    data: dict[str, Any]

    @property
    def pcm16(self) -> bytes:
        """The sound in it: int16 little endian, mono, 24 kHz unless the session says otherwise."""
        return binascii.a2b_base64(self.data.get("delta", ""))


class RealtimeClient(asyncio.Protocol):
    """One connection; made by `connect`.

    Attributes:
        close_code, close_reason: how it ended, None while it has not, and 1006 if it broke.
        protocol_error: what the server did wrong on the wire, None if nothing.
    """

    def __init__(self, url: str, token: str | None, on_event: Callable[[ServerEvent], None]):
        self.close_code: int | None = None
        self.close_reason = ""
        self.protocol_error: str | None = None
        self._on_event = on_event
        self._wire = ClientProtocol(parse_uri(url), max_size=MAX_MESSAGE_BYTES)
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._room = asyncio.Event()
        self._room.set()
        self._fragments: list[bytes] = []

    @classmethod
    async def connect(
        cls,
        url: str,
        on_event: Callable[[ServerEvent], None],
        *,
        model: str | None = None,
        token: str | None = None,
        timeout_s: float = 10.0,
    ) -> RealtimeClient:
        """Connect and shake hands; `session.created` comes as the first event.

        Args:
            url: such as `ws://127.0.0.1:8765/v1/realtime`.
            on_event: called with every event, on the event loop; may not block.
            model: sets `?model=`.
            token: sent as `Authorization: Bearer`.
            timeout_s: for all of it.
        Raises:
            ConnectError: no such server, or it refuses.
        """
        full_url = _with_model(url, model)
        try:
            uri = parse_uri(full_url)
        except InvalidURI as error:
            raise ConnectError(f"{url!r} is no WebSocket address; use ws:// or wss://") from error
        loop = asyncio.get_running_loop()
        client = cls(full_url, token, on_event)
        try:
            async with asyncio.timeout(timeout_s):
                await loop.create_connection(
                    lambda: client,
                    uri.host,
                    uri.port,
                    ssl=True if uri.secure else None,
                )
                await asyncio.shield(client._opened)
        except TimeoutError as error:
            await client._give_up()
            raise ConnectError(f"{url} did not answer within {timeout_s:g} s") from error
        except OSError as error:
            raise ConnectError(f"{url} cannot be reached: {error}") from error
        except InvalidStatus as error:
            await client._give_up()
            status = error.response.status_code
            raise ConnectError(
                f"{url} refused the connection with HTTP {status}", status
            ) from error
        except InvalidHandshake as error:
            await client._give_up()
            raise ConnectError(f"{url} is no WebSocket server: {error}") from error
        return client

    @property
    def is_open(self) -> bool:
        """True while events can be sent."""
        return self.close_code is None and self._wire.state is State.OPEN

    @property
    def is_blocked(self) -> bool:
        """True while the server does not take what was sent."""
        return not self._room.is_set()

    def send(self, event: dict[str, Any]) -> None:
        """Send an event; never waits (see `drained`). Does nothing on a closed connection."""
        self._send_text(orjson.dumps(event))

    def append(self, pcm16: bytes) -> None:
        """Send `input_audio_buffer.append` with int16 little-endian samples."""
        audio = binascii.b2a_base64(pcm16, newline=False)
        self._send_text(b'{"type":"input_audio_buffer.append","audio":"' + audio + b'"}')

    async def drained(self) -> None:
        """Wait until the server takes what was sent, or is gone."""
        await self._room.wait()

    def pause_reading(self) -> None:
        """Be a slow reader: leave what the server sends in the socket."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    async def close(self, code: int = 1000, timeout_s: float = 5.0) -> None:
        """Say goodbye and wait for the answer. Safe to call twice."""
        if self.is_open:
            self._wire.send_close(code)
            self._flush()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self._transport.abort()
            await self._closed

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, whoever ended it."""
        await asyncio.shield(self._closed)

    def abort(self) -> None:
        """Vanish: reset the connection in the middle of whatever goes on."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # What follows is called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = self._wire.connect()
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        self._wire.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        at_s = self._loop.time()
        self._wire.receive_data(data)
        for event in self._wire.events_received():
            if isinstance(event, Frame):
                self._take_frame(event, at_s)
        if not self._opened.done():
            if self._wire.handshake_exc is not None:
                self._opened.set_exception(self._wire.handshake_exc)
            elif self._wire.state is not State.CONNECTING:
                self._opened.set_result(None)
        self._flush()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self._wire.receive_eof()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._wire.state is not State.CLOSED:
            self._wire.receive_eof()
        self.close_code = self._wire.close_code or 1006
        self.close_reason = self._wire.close_reason or ""
        fault = self._wire.parser_exc
        # A connection that just ends is told by the close code.
        if fault is not None and not isinstance(fault, EOFError) and self.protocol_error is None:
            self.protocol_error = str(fault)
        if not self._opened.done():
            self._opened.set_exception(
                self._wire.handshake_exc or InvalidHandshake("it hung up during the handshake")
            )
        self._room.set()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._room.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._room.set()

    def _take_frame(self, frame: Frame, at_s: float) -> None:
        if frame.opcode is Opcode.BINARY:
            self.protocol_error = "a binary message, where all are JSON text"
            return
        if frame.opcode is not Opcode.TEXT and frame.opcode is not Opcode.CONT:
            return
        data = frame.data if frame.fin and not self._fragments else self._join(frame)
        if not frame.fin:
            return
        try:
            event = orjson.loads(data)
            name = event["type"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self.protocol_error = f"a message that is no event: {bytes(data[:80])!r}"
            return
        self._on_event(ServerEvent(at_s, _BETA_NAMES.get(name, name), event))

    def _join(self, frame: Frame) -> bytes:
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return b""
        whole = b"".join(self._fragments)
        self._fragments.clear()
        return whole

    def _send_text(self, data: bytes) -> None:
        if self.is_open:
            self._wire.send_text(data)
            self._flush()

    def _flush(self) -> None:
        pieces = self._wire.data_to_send()
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))
            if b"" in pieces:  # the library's sign for: nothing more will be sent
                self._transport.close()

    async def _give_up(self) -> None:
        if hasattr(self, "_transport"):
            self._transport.abort()
            await self._closed
        if self._opened.done():
            self._opened.exception()  # it is reported in other words


def _with_model(url: str, model: str | None) -> str:
    parts = urlsplit(url)
    if model is None:
        return url
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "model"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("model", model)], quote_via=quote)))
