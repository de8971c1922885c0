"""A WebSocket client made of bytes, for what no library would send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
MASK = b"\x01\x02\x03\x04"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    is_last: bool = True,
    is_masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """One frame (RFC 6455, 5.2).

    Args:
        reserved: the three reserved bits, 0 to 7.
        length: what the header says, if that is not the truth.
    """
    size = len(payload) if length is None else length
    head = bytearray([is_last << 7 | reserved << 4 | opcode])
    if size < 126:
        head.append(is_masked << 7 | size)
    elif size < 1 << 16:
        head += bytes([is_masked << 7 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([is_masked << 7 | 127]) + struct.pack("!Q", size)
    if is_masked:
        head += MASK
        payload = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes(head) + payload


def handshake(path: str, *extra: str, without: str = "", version: int = 13) -> bytes:
    """The request that opens a WebSocket.

    Args:
        extra: more header lines.
        without: leave out the lines that begin with this.
    """
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Key: {KEY}",
        f"Sec-WebSocket-Version: {version}",
        *extra,
    ]
    kept = [line for line in lines if not without or not line.startswith(without)]
    return "\r\n".join([*kept, "", ""]).encode()


class RawSocket:
    """One TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def send_event(self, type: str, **fields: Any) -> None:
        self.send(frame(TEXT, json.dumps({"type": type, **fields}).encode()))

    async def answer(self, within_s: float = 5.0) -> bytes:
        """The head of the HTTP answer; empty if the server just hung up."""
        async with asyncio.timeout(within_s):
            try:
                return await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""

    async def next_frame(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        size = second & 127
        if size > 125:
            width = 2 if size == 126 else 8
            size = int.from_bytes(await self.reader.readexactly(width), "big")
        return first & 15, await self.reader.readexactly(size)

    async def event(self, type: str, within_s: float = 5.0) -> dict[str, Any]:
        """The next event of a type."""
        async with asyncio.timeout(within_s):
            while True:
                opcode, payload = await self.next_frame()
                if opcode == PING:
                    self.send(frame(PONG, payload))
                if opcode == TEXT and json.loads(payload)["type"] == type:
                    return dict(json.loads(payload))

    async def close_code(self, within_s: float = 5.0) -> int | None:
        """The code of the server's close frame; None if the connection ends without one."""
        async with asyncio.timeout(within_s):
            try:
                while True:
                    opcode, payload = await self.next_frame()
                    if opcode == CLOSE:
                        return int.from_bytes(payload[:2], "big")
            except (asyncio.IncompleteReadError, ConnectionError):
                return None


@contextlib.asynccontextmanager
async def raw_connection(address: str) -> AsyncIterator[RawSocket]:
    """A TCP connection on which nothing has been sent."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield RawSocket(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def raw_websocket(address: str, model: str = "echo") -> AsyncIterator[RawSocket]:
    """A WebSocket whose session has begun."""
    async with raw_connection(address) as raw:
        raw.send(handshake(f"/v1/realtime?model={model}"))
        assert b" 101 " in await raw.answer()
        await raw.event("session.created")
        yield raw
