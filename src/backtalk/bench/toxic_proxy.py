"""A bad network between a client and a server, on a script: a TCP proxy that does harm on purpose.

The idea, and most names, are those of Toxiproxy (https://github.com/Shopify/toxiproxy). A toxic
works on the bytes of one direction; several are applied one after the other. They may be put in and
taken out at any time, and act on connections that are already open.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

READ_BYTES = 4096
PIECES_UNDER_WAY = 64
"""Pieces held back in one direction before the sender is held back too."""
Direction = Literal["up", "down", "both"]
"""up: from the client to the server."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Everything arrives later, in order; `jitter_ms` more or less."""

    ms: float
    jitter_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """So many bytes a second, and the rest waits: the sender feels it."""

    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Slicer:
    """Bytes come in small pieces with a gap between them."""

    size_bytes: int
    gap_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Blackhole:
    """Bytes vanish, the connection stays: neither side is told."""


@dataclass(frozen=True, slots=True)
class LimitBytes:
    """After so many bytes the connection is closed."""

    limit_bytes: int


@dataclass(frozen=True, slots=True)
class BitFlip:
    """Every bit is wrong with this probability."""

    rate: float


Toxic = Latency | Bandwidth | Slicer | Blackhole | LimitBytes | BitFlip


@dataclass(slots=True, eq=False)
class _Link:
    """One connection through the proxy: a socket to either side."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    taken_bytes: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def close(self) -> None:
        self.client.close()
        self.server.close()


class ToxicProxy:
    """Forwards TCP connections to one server.

    Args:
        host, port: the server.
        seed: of jitter and flipped bits.
    Attributes:
        port: where clients connect, on 127.0.0.1.
    """

    def __init__(self, host: str, port: int, seed: int = 0) -> None:
        self.port = 0
        self._upstream = (host, port)
        self._random = random.Random(seed)
        self._toxics: dict[str, list[Toxic]] = {"up": [], "down": []}
        self._links: set[_Link] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._links)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[ToxicProxy]:
        """Listen, and cut everything at the end."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for link in list(self._links):
                for task in link.tasks:
                    task.cancel()
                await asyncio.gather(*link.tasks, return_exceptions=True)
            await server.wait_closed()
            await asyncio.sleep(0)  # sockets are closed by the loop's next round

    def set_toxics(self, *toxics: Toxic, direction: Direction = "both") -> None:
        """Put these in place of what was there; none makes the network good again."""
        for way in ("up", "down") if direction == "both" else (direction,):
            self._toxics[way] = list(toxics)

    async def stall(self, seconds: float) -> None:
        """Forward nothing in either direction for a while; nothing is lost."""
        self._flowing.clear()
        await asyncio.sleep(seconds)
        self._flowing.set()

    def drop(self, how: Literal["rst", "fin", "half"]) -> None:
        """End all connections: reset both sides, close both, or close only the client's sending."""
        for link in list(self._links):
            if how == "half":
                link.tasks[0].cancel()
                link.server.write_eof()
                continue
            for writer in (link.client, link.server):
                if how == "rst":
                    _reset(writer)
                else:
                    writer.close()

    async def play(
        self, script: Sequence[tuple[float, Callable[[], Coroutine[Any, Any, None] | None]]]
    ) -> None:
        """Carry out a script: at so many seconds from now, do that."""
        began_s = asyncio.get_running_loop().time()
        for at_s, action in script:
            await asyncio.sleep(max(0.0, began_s + at_s - asyncio.get_running_loop().time()))
            waiting = action()
            if waiting is not None:
                await waiting

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            _reset(writer)
            return
        link = _Link(writer, server_writer)
        for each in (writer, server_writer):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.add(link)
        link.tasks = [
            asyncio.create_task(self._pump(link, "up", reader, server_writer)),
            asyncio.create_task(self._pump(link, "down", server_reader, writer)),
        ]
        try:
            await asyncio.gather(*link.tasks, return_exceptions=True)
        finally:
            self._links.discard(link)
            link.close()

    async def _pump(
        self, link: _Link, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take bytes as they come and deliver them when they are due."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES_UNDER_WAY)
        delivering = asyncio.create_task(self._deliver(line, way, writer))
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(READ_BYTES):
                at_s = loop.time() + self._latency_s(way)
                data, is_last = self._spoilt(link, way, data)
                if data:
                    await line.put((at_s, data))
                if is_last:
                    await line.put((at_s, b""))
                    await delivering
                    link.close()
                    return
            await line.put((loop.time(), b""))
            await delivering
        except ConnectionError:
            _reset(writer)  # as the one side went, so the other
        finally:
            delivering.cancel()

    async def _deliver(
        self, line: asyncio.Queue[tuple[float, bytes]], way: str, writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at_s, data = await line.get()
            await asyncio.sleep(max(0.0, at_s - loop.time()))
            if not data:
                if writer.can_write_eof() and not writer.is_closing():
                    writer.write_eof()
                return
            for piece, wait_s in self._pieces(way, data):
                await asyncio.sleep(wait_s)
                await self._flowing.wait()
                writer.write(piece)
                await writer.drain()

    def _latency_s(self, way: str) -> float:
        return sum(
            max(0.0, toxic.ms + self._random.uniform(-1, 1) * toxic.jitter_ms) / 1000
            for toxic in self._toxics[way]
            if isinstance(toxic, Latency)
        )

    def _spoilt(self, link: _Link, way: str, data: bytes) -> tuple[bytes, bool]:
        """What is left of the data, and whether it is the last of this connection."""
        is_last = False
        link.taken_bytes[way] += len(data)
        for toxic in self._toxics[way]:
            if isinstance(toxic, Blackhole):
                data = b""
            elif isinstance(toxic, LimitBytes):
                over = link.taken_bytes[way] - toxic.limit_bytes
                if over >= 0:
                    data, is_last = data[: max(0, len(data) - over)], True
            elif isinstance(toxic, BitFlip):
                data = self._flipped(data, toxic.rate)
        return data, is_last

    def _flipped(self, data: bytes, rate: float) -> bytes:
        flipped = bytearray(data)
        for at in range(8 * len(data)):
            if self._random.random() < rate:
                flipped[at // 8] ^= 1 << at % 8
        return bytes(flipped)

    def _pieces(self, way: str, data: bytes) -> list[tuple[bytes, float]]:
        """The data as it is written: pieces, and how long to wait before each."""
        size, wait_s, bytes_per_s = len(data), 0.0, 0.0
        for toxic in self._toxics[way]:
            if isinstance(toxic, Slicer):
                size, wait_s = min(size, toxic.size_bytes), wait_s + toxic.gap_ms / 1000
            elif isinstance(toxic, Bandwidth):
                bytes_per_s = toxic.bytes_per_s
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        return [(p, wait_s + (len(p) / bytes_per_s if bytes_per_s else 0.0)) for p in pieces]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN; whatever was not delivered is lost."""
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
