"""One measured session with an echo: stamped frames out on schedule, judged as they come back."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from backtalk.bench.realtime_client import ConnectError, RealtimeClient, ServerEvent
from backtalk.bench.stamped_audio import (
    FRAME_BYTES,
    FRAME_S,
    FrameCounts,
    StampReader,
    stamped_frame,
)

TAIL_FRAMES = 10
"""Silent frames after the last stamped one, to push it out of a system that has some delay."""
READY_WITHIN_S = 10.0
ANSWERED_WITHIN_S = 3.0
KEPT_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to talk to.

    Attributes:
        model: None leaves the choice to the server.
        frames_per_message: frames of 20 ms in one append.
    """

    url: str
    model: str | None = None
    token: str | None = None
    frames_per_message: int = 1


class RefusedError(Exception):
    """The server did not want this session.

    Attributes:
        code: of the error event, else HTTP status or close code, else `unreachable`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Tally:
    """What all sessions of a run found.

    Attributes:
        latency_ms: per frame, from the call that sent it to the arrival of its bytes.
        late_ms: per message, how much later than planned this client sent it.
        ready_ms: per accepted session, from the first packet to `session.created`.
        refused_ms: per refused one, until the refusal arrived.
    """

    counts: FrameCounts = field(default_factory=FrameCounts)
    latency_ms: array[float] = field(default_factory=lambda: array("f"))
    late_ms: array[float] = field(default_factory=lambda: array("f"))
    ready_ms: array[float] = field(default_factory=lambda: array("f"))
    refused_ms: array[float] = field(default_factory=lambda: array("f"))
    refusals: Counter[str] = field(default_factory=Counter)
    closes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add_error(self, error: str) -> None:
        """Count an error event or a protocol error; only so many kinds are kept."""
        if error in self.errors or len(self.errors) < KEPT_ERRORS:
            self.errors[error] += 1


class EchoStream:
    """One session.

    Args:
        stream: its id in the stamps.
        target: whom to talk to.
        tally: where its findings go.
    """

    def __init__(self, stream: int, target: Target, tally: Tally) -> None:
        self.tally = tally
        self._stream = stream
        self._target = target
        self._reader = StampReader(stream)
        self._client: RealtimeClient | None = None
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[ServerEvent] = self._loop.create_future()
        self._sent_s = array("d")
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=1000)
        self._came_back = asyncio.Event()
        self._returned_frames = 0

    @property
    def client(self) -> RealtimeClient:
        """The connection, once `open` has succeeded."""
        assert self._client is not None
        return self._client

    @property
    def arrivals(self) -> list[tuple[float, float]]:
        """The last frames that came back: when, on the event loop's clock, and latency in ms."""
        return list(self._arrivals)

    async def open(self) -> None:
        """Connect and wait for `session.created`.

        Raises:
            RefusedError: it was refused; the tally knows.
        """
        began_s = self._loop.time()
        target = self._target
        try:
            self._client = await RealtimeClient.connect(
                target.url, self._on_event, model=target.model, token=target.token
            )
            event = await self._first_event()
        except ConnectError as error:
            raise self._refused(str(error.code or "unreachable"), began_s) from None
        if event.type != "session.created":
            await self.client.close()
            said = event.data.get("error") or {}
            raise self._refused(str(said.get("code") or event.type), began_s)
        self.tally.ready_ms.append(1000.0 * (event.at_s - began_s))

    async def _first_event(self) -> ServerEvent:
        gone = asyncio.ensure_future(self.client.wait_closed())
        either: list[asyncio.Future[Any]] = [gone, self._first]
        await asyncio.wait(either, timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not self._first.done():
            code = self.client.close_code
            await self.client.close()
            raise ConnectError("no session.created", code)
        return self._first.result()

    def _refused(self, code: str, began_s: float) -> RefusedError:
        self.tally.refused_ms.append(1000.0 * (self._loop.time() - began_s))
        self.tally.refusals[code] += 1
        return RefusedError(code)

    async def speak(self, start_s: float, seconds: float) -> None:
        """Send stamped frames from `start_s` on, each message at its planned moment.

        Nothing that comes back, or does not, changes the schedule.
        """
        frames = round(seconds / FRAME_S)
        size = self._target.frames_per_message
        for number in range(0, frames, size):
            # A message can be sent when its last sample has been spoken.
            due_s = start_s + (number + size) * FRAME_S
            wait_s = due_s - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if not self.client.is_open:
                return
            now_s = self._loop.time()
            self.tally.late_ms.append(1000.0 * (now_s - due_s))
            numbers = range(number, min(number + size, frames))
            self._sent_s.extend([now_s] * len(numbers))
            self.client.append(b"".join(stamped_frame(self._stream, n) for n in numbers))

    async def finish(self) -> None:
        """Wait for what is still under way, hang up and count."""
        silence = bytes(FRAME_BYTES)
        for _ in range(TAIL_FRAMES):
            if self._returned_frames >= len(self._sent_s):
                break
            self.client.append(silence)
            await asyncio.sleep(FRAME_S)
        deadline_s = self._loop.time() + ANSWERED_WITHIN_S
        while self._returned_frames < len(self._sent_s) and self.client.is_open:
            self._came_back.clear()
            try:
                async with asyncio.timeout(deadline_s - self._loop.time()):
                    await self._came_back.wait()
            except TimeoutError:
                break
        was_open = self.client.is_open
        await self.client.close()
        self._count(len(self._sent_s))
        if not was_open:
            self.tally.add_error(f"hung up with {self.client.close_code}")
        self.tally.closes[str(self.client.close_code) if not was_open else "by us"] += 1

    async def vanish(self) -> None:
        """Reset the connection; what was under way is nobody's loss."""
        self.client.abort()
        await self.client.wait_closed()
        self._count(0)
        self.tally.closes["reset by us"] += 1

    def _count(self, sent: int) -> None:
        counts = self._reader.counts(sent)
        counts.sent = len(self._sent_s)
        self.tally.counts += counts
        if self.client.protocol_error is not None:
            self.tally.add_error(self.client.protocol_error)

    def _on_event(self, event: ServerEvent) -> None:
        if not self._first.done():
            self._first.set_result(event)
        if event.type == "response.output_audio.delta":
            self._take(event)
        elif event.type == "error":
            self.tally.add_error(_summary(event.data))

    def _take(self, event: ServerEvent) -> None:
        for verdict, number in self._reader.push(event.pcm16):
            if verdict in ("ok", "reordered") and number < len(self._sent_s):
                latency_ms = 1000.0 * (event.at_s - self._sent_s[number])
                self.tally.latency_ms.append(latency_ms)
                self._arrivals.append((event.at_s, latency_ms))
                self._returned_frames += 1
        self._came_back.set()


def _summary(data: dict[str, Any]) -> str:
    error = data.get("error") or {}
    return f"{error.get('code')}: {error.get('message')}"[:200]
