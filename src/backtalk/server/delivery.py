"""Sends a session's events over one socket, no further ahead than the client is seen to receive."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from backtalk.realtime.limits import Limits
from backtalk.server.acked_websocket import AckedSocket
from backtalk.server.closing import GOING_AWAY, POLICY, Closing
from backtalk.server.event_log import EventLog
from backtalk.server.metrics import Metrics
from backtalk.stream.clock import now_s

PING_EVERY_S = 0.2


class Delivery:
    """One socket's reading of a session's log.

    Args:
        log: read from its position on.

    Attributes:
        held_back_s: how long the client's messages have been left unread on purpose so far, kept
            up to date by the reader. Pongs were not read then either, so they may be late by that.
    """

    def __init__(
        self, log: EventLog, socket: AckedSocket, limits: Limits, metrics: Metrics
    ) -> None:
        self._log, self._socket, self._limits = log, socket, limits
        self._metrics = metrics
        self._in_flight: deque[tuple[int, float]] = deque()
        self._in_flight_ms = 0.0
        self._something_sent = asyncio.Event()
        self._received = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.held_back_s = 0.0

    async def run(self) -> None:
        """Send until the log is closed and everything was received.

        Raises:
            Closing: the client receives nothing any more.
        """
        sending = asyncio.create_task(self._send())
        self._tasks = [sending, asyncio.create_task(self._watch(sending))]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in self._tasks:
                if task.done():
                    task.result()
        finally:
            self.stop()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._metrics.inflight_audio_ms.dec(self._in_flight_ms)

    def stop(self) -> None:
        """Touch the log no more, from this very moment: another socket reads it now."""
        for task in self._tasks:
            task.cancel()

    async def _send(self) -> None:
        log, socket = self._log, self._socket
        while (entry := await log.next()) is not None:
            if entry.audio_ms:
                while self._in_flight_ms >= self._limits.unacknowledged_ms:
                    self._received.clear()
                    await self._received.wait()
                self._in_flight.append((log.position, entry.audio_ms))
                self._in_flight_ms += entry.audio_ms
                self._metrics.inflight_audio_ms.inc(entry.audio_ms)
            await socket.writable()
            socket.send(entry.payload)
            log.sent()
            self._something_sent.set()

    async def _watch(self, sending: asyncio.Task[None]) -> None:
        while not (sending.done() and self._log.is_received):
            await self._wait_for_something_sent()
            self._something_sent.clear()
            position = self._log.position
            has_sent = position > self._log.acknowledged
            answered = self._socket.ping()
            limit_s = self._limits.stalled_s if has_sent else self._limits.ping_s
            await self._wait_for_answer(answered, limit_s)
            self._acknowledge(position)

    async def _wait_for_something_sent(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.ping_s):
                await self._something_sent.wait()
                await asyncio.sleep(PING_EVERY_S)

    async def _wait_for_answer(self, answered: asyncio.Future[None], limit_s: float) -> None:
        deadline_s, held_back_s = now_s() + limit_s, self.held_back_s
        while not answered.done():
            left_s = deadline_s + (self.held_back_s - held_back_s) - now_s()
            if left_s <= 0:
                if self._log.position > self._log.acknowledged:
                    raise Closing(
                        POLICY,
                        "too_slow",
                        f"nothing was received for {limit_s:g} s",
                        ends_session=False,
                    )
                raise Closing(GOING_AWAY, "no_answer", "pings are not answered", ends_session=False)
            await asyncio.wait([answered], timeout=left_s)
        if answered.cancelled():
            raise Closing(GOING_AWAY, "gone", "the connection is lost", ends_session=False)

    def _acknowledge(self, position: int) -> None:
        self._log.acknowledge(position)
        received_ms = 0.0
        while self._in_flight and self._in_flight[0][0] < position:
            received_ms += self._in_flight.popleft()[1]
        self._in_flight_ms -= received_ms
        self._metrics.inflight_audio_ms.dec(received_ms)
        self._received.set()
