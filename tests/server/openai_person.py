"""Somebody who talks to a server through the official `openai` package, as a product would."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from openai import AsyncOpenAI
from running import Running

from backtalk.audio.pcm import pcm_from_int16_bytes, pcm_to_int16_bytes
from backtalk.audio.resample import resample
from fakes import RATE

CLIENT_RATE = 24_000
CHUNK_MS = 20


def to_wire(*pieces: np.ndarray) -> bytes:
    """Speech of `fakes` as 16-bit bytes at 24 kHz."""
    return pcm_to_int16_bytes(resample(np.concatenate(pieces), RATE, CLIENT_RATE))


def chunks_of(pcm_bytes: bytes) -> list[bytes]:
    """Pieces of 20 ms."""
    size = 2 * CLIENT_RATE * CHUNK_MS // 1000
    return [pcm_bytes[at : at + size] for at in range(0, len(pcm_bytes), size)]


class Person:
    """Keeps every event of a connection; speaks in real time.

    Args:
        connection: the package's, of `client.realtime` or of `client.beta.realtime`.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self._arrived = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self.connection:
            self.events.append(event)
            self._arrived.set()

    async def say(self, *pieces: np.ndarray) -> None:
        for chunk in chunks_of(to_wire(*pieces)):
            audio = base64.b64encode(chunk).decode()
            await self.connection.input_audio_buffer.append(audio=audio)
            await asyncio.sleep(CHUNK_MS / 1000)

    def of(self, *types: str) -> list[Any]:
        return [event for event in self.events if event.type in types]

    def kinds(self) -> list[str]:
        return [event.type for event in self.events]

    async def until(self, type: str, count: int = 1, within_s: float = 8.0) -> Any:
        """The `count`-th event of a type, when it is there."""
        try:
            async with asyncio.timeout(within_s):
                while len(self.of(type)) < count:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"no {type}, only {self.kinds()}") from None
        return self.of(type)[count - 1]

    def heard(self, kind: str = "response.output_audio.delta") -> np.ndarray:
        """The sound that came, float32 [T] at 24 kHz."""
        audio = b"".join(base64.b64decode(event.delta) for event in self.of(kind))
        return pcm_from_int16_bytes(audio)

    async def hang_up(self) -> None:
        await self.connection.close()
        await asyncio.gather(self._listening, return_exceptions=True)


@contextlib.asynccontextmanager
async def openai_client(server: Running, key: str = "any") -> AsyncIterator[AsyncOpenAI]:
    """The package's client; nothing but its address is changed."""
    async with AsyncOpenAI(
        api_key=key,
        base_url=f"http://{server.address}/v1",
        # The beta's client takes wss:// for granted where nothing is said.
        websocket_base_url=f"ws://{server.address}/v1",
    ) as client:
        yield client


@contextlib.asynccontextmanager
async def person(
    server: Running, model: str = "gpt-realtime", *, key: str = "any", is_beta: bool = False
) -> AsyncIterator[Person]:
    """Somebody who has connected."""
    async with openai_client(server, key) as client:
        api: Any = client.beta.realtime if is_beta else client.realtime
        async with api.connect(model=model) as connection:
            talker = Person(connection)
            try:
                await talker.until("session.created")
                yield talker
            finally:
                await talker.hang_up()
