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

PING_EVERY_S = 0.4


class Delivery:
    """One socket's reading of a session's log.

    Nothing waits in a task to send: whatever makes sending possible (a new event, room in the
    socket, a sign of receipt) sends what can be sent, there and then.

    Args:
        log: read from its position on.
        unacknowledged_ms: audio that may be on its way to the client.

    Attributes:
        held_back_s: how long the client's messages have been left unread on purpose so far, kept
            up to date by the reader. Pongs were not read then either, so they may be late by that.
    """

    def __init__(
        self,
        log: EventLog,
        socket: AckedSocket,
        unacknowledged_ms: int,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._log, self._socket, self._limits = log, socket, limits
        self._metrics, self._unacknowledged_ms = metrics, unacknowledged_ms
        self._in_flight: deque[tuple[int, float]] = deque()
        self._in_flight_ms = 0.0
        self._news = asyncio.Event()
        self._is_stopped = False
        self.held_back_s = 0.0

    async def run(self) -> None:
        """Send until the log is closed and everything was received.

        Raises:
            Closing: the client receives nothing any more.
        """
        if self._is_stopped:
            return
        self._log.on_news = self._socket.on_writable = self._send
        self._send()
        try:
            while not (self._log.is_closed and self._log.is_received):
                await self._wait_for_news()
                position = self._log.position
                has_sent = position > self._log.acknowledged
                answered = self._socket.ping()
                limit_s = self._limits.stalled_s if has_sent else self._limits.ping_s
                await self._wait_for_answer(answered, limit_s)
                self._acknowledge(position)
        finally:
            self.stop()

    def stop(self) -> None:
        """Touch the log no more, from this very moment: another socket reads it now."""
        if not self._is_stopped:
            self._is_stopped = True
            if self._log.on_news == self._send:
                self._log.on_news = None
            self._socket.on_writable = None
            self._metrics.inflight_audio_ms.dec(self._in_flight_ms)

    def _send(self) -> None:
        """Everything that may be sent now."""
        log, socket = self._log, self._socket
        while socket.is_writable and (entry := log.unsent()) is not None:
            if entry.audio_ms:
                if self._in_flight_ms >= self._unacknowledged_ms:
                    break
                self._in_flight.append((log.position, entry.audio_ms))
                self._in_flight_ms += entry.audio_ms
                self._metrics.inflight_audio_ms.inc(entry.audio_ms)
            socket.send(entry.payload)
            log.sent()
        if log.is_closed or not log.is_received:
            self._news.set()

    async def _wait_for_news(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.ping_s):
                await self._news.wait()
                if not self._log.is_closed:
                    await asyncio.sleep(PING_EVERY_S)
        self._news.clear()

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
        self._send()
