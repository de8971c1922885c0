"""uvicorn's WebSocket, with proof of what the peer has received.

A socket accepts seconds of audio that nobody has read: megabytes fit into the buffers of two
kernels. But frames are handled in order, so the answer to a ping (RFC 6455, 5.5.3) proves that
everything sent before the ping has reached the peer's WebSocket library. The application gets this
through `scope["extensions"]["backtalk.socket"]`, along with sending that skips ASGI's envelope.

It extends a private class of uvicorn, whose version `pyproject.toml` pins.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from asyncio.transports import BaseTransport, Transport
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import orjson
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

from backtalk.realtime.limits import Limits
from backtalk.server.closing import error_event

EXTENSION = "backtalk.socket"
BUFFER_BYTES = 16 * 1024
LINGER_S = 2.0
WAITING_MESSAGES = 8
LARGE_MESSAGE_BYTES = 64 * 1024
HANDSHAKE_S = Limits().handshake_s


class AckedSocket:
    """What the application may do with its socket, beyond ASGI."""

    def __init__(self, protocol: AckedWebSocketProtocol) -> None:
        self._protocol = protocol

    async def receive(self) -> str | bytes | None:
        """The next message; None when the peer has gone."""
        protocol = self._protocol
        message: Any = await protocol.queue.get()
        if protocol.read_paused and protocol.queue.empty():
            protocol.read_paused = False
            protocol.transport.resume_reading()
        if message["type"] == "websocket.disconnect":
            return None
        return message["text"] if "text" in message else message["bytes"]

    def send(self, payload: bytes) -> None:
        """Send one text message, UTF-8; nothing happens on a socket that is closing.

        See `is_writable` before, or what is sent piles up here.
        """
        self._protocol.send_now(payload)

    @property
    def is_writable(self) -> bool:
        """Whether less than `BUFFER_BYTES` wait to be taken by the kernel."""
        return self._protocol.writable.is_set()

    @property
    def on_writable(self) -> Callable[[], None] | None:
        """Called when the socket has become writable again."""
        return self._protocol.on_writable

    @on_writable.setter
    def on_writable(self, call: Callable[[], None] | None) -> None:
        self._protocol.on_writable = call

    def ping(self) -> asyncio.Future[None]:
        """Send a ping.

        Returns:
            A future that is done when the peer has received everything sent so far. It is
            cancelled when the connection is lost.
        """
        return self._protocol.ping()

    def abort_later(self) -> None:
        """Drop the connection after `LINGER_S`, if the peer has not closed it by then.

        A transport that is merely closed waits for its buffer to be read, for ever if need be.
        """
        self._protocol.loop.call_later(LINGER_S, self._protocol.transport.abort)

    @property
    def was_closed_by_peer(self) -> bool:
        """Whether the peer said goodbye with 1000 (or without a code), as programs do on exit.

        A browser that leaves the page says 1001, and a broken connection says nothing.
        """
        received = self._protocol.conn.close_rcvd
        return received is not None and received.code in (
            CloseCode.NORMAL_CLOSURE,
            CloseCode.NO_STATUS_RCVD,
        )


class AckedWebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection; see the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ping_numbers = itertools.count()
        self._unanswered: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self.on_writable: Callable[[], None] | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Keep as little as possible in buffers that cannot be taken back."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for answers any more."""
        super().connection_lost(exc)
        while self._unanswered:
            self._unanswered.popleft()[1].cancel()

    def data_received(self, data: bytes) -> None:
        """Read; a request that is no WebSocket handshake gets an answer, and no further hearing."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.handshake_initiated = self.handshake_complete = self.close_sent = True
            self.conn.send_response(self.conn.reject(400, f"{self.conn.handshake_exc}\n"))
            self._flush()
            self.transport.close()

    def resume_writing(self) -> None:
        """The kernel has taken what was waiting."""
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    def send_receive_event_to_app(self) -> None:
        """Queue a message, and stop reading only if the application lags behind.

        The parent stops after every message and starts again when it is taken: four system calls
        around each of 50 frames a second.
        """
        was_paused, is_large = self.read_paused, sum(map(len, self.frames)) > LARGE_MESSAGE_BYTES
        self.read_paused = True
        super().send_receive_event_to_app()
        self.read_paused = was_paused
        is_behind = is_large or self.queue.qsize() >= WAITING_MESSAGES
        if is_behind and not was_paused and not self.close_sent:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_connect(self, event: Any) -> None:
        """Hand the application its socket, in the scope."""
        super().handle_connect(event)
        scope = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = AckedSocket(self)

    def send_now(self, payload: bytes) -> None:
        """One text frame."""
        if self.conn.state is State.OPEN and not self.transport.is_closing():
            self.transport.write(_text_frame_head(len(payload)) + payload)

    def ping(self) -> asyncio.Future[None]:
        """One ping frame; the future is done with its pong."""
        answered = self.loop.create_future()
        if self.conn.state is not State.OPEN or self.disconnected:
            answered.cancel()
            return answered
        payload = struct.pack("!Q", next(self._ping_numbers))
        self._unanswered.append((payload, answered))
        self.conn.send_ping(payload)
        self._flush()
        return answered

    def handle_pong(self, event: Frame) -> None:
        """A pong answers its ping and all before it; others are ignored."""
        payload = bytes(event.data)
        if not any(payload == sent for sent, _ in self._unanswered):
            return
        while self._unanswered:
            sent, answered = self._unanswered.popleft()
            if not answered.done():
                answered.set_result(None)
            if sent == payload:
                return

    def handle_parser_exception(self) -> None:
        """Say what was wrong, close, and read on for a moment.

        Closing a socket with unread bytes makes the kernel reset the connection, and the peer
        would lose the close frame that tells it why.
        """
        if self.close_sent:
            return
        assert self.conn.close_sent is not None
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        message = reason or "this is not the WebSocket protocol"
        if code == CloseCode.MESSAGE_TOO_BIG:
            message = f"a message may have {self.config.ws_max_size} bytes; send it in pieces"
        error = orjson.dumps(error_event("websocket_error", message))
        self.transport.write(Frame(Opcode.TEXT, error).serialize(mask=False))
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._flush()
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _flush(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))


def _text_frame_head(size: int) -> bytes:
    """What precedes the payload of a whole, unmasked text frame (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x81, size))
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


class DeadlineHttpProtocol(H11Protocol):
    """uvicorn's HTTP, for clients that make up their mind: no request in time, no connection."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self.loop.call_later(HANDSHAKE_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        is_http = self.transport.get_protocol() is self
        if is_http and self.cycle is None:
            self.transport.close()


def peer_socket(scope: Any) -> AckedSocket:
    """The socket of a WebSocket connection served by `AckedWebSocketProtocol`."""
    return cast(AckedSocket, scope["extensions"][EXTENSION])
