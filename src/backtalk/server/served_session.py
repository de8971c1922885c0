"""A Realtime session as the server keeps it: with a log of what it said, beyond any one socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backtalk.realtime.limits import Limits
from backtalk.realtime.outgoing import OutgoingAudio, Outlet
from backtalk.realtime.realtime_session import RealtimeSession
from backtalk.server.admission import Seat
from backtalk.server.auth import Caller
from backtalk.server.closing import Closing
from backtalk.server.dialect import Dialect
from backtalk.server.event_log import Entry, EventLog
from backtalk.server.metrics import Metrics
from backtalk.session.turn_session import TurnSession
from backtalk.stream.clock import now_s

RESUME = "backtalk.resume"


class ServedSession:
    """The outlet of a session: writes its events into a log, whether somebody listens or not.

    Args:
        open_session: makes the session whose outlet this is.
        seat: its place on the server, given back at the end.
        dialect: what the client speaks.
        on_updated: called after the client was told that its session has changed.
        on_end: called once when the session is over.
    Raises:
        BacktalkError: what `open_session` raises.

    Attributes:
        log: everything it said that its client may still have to be told.
        ends_at_s: when it has lasted as long as it may, on the loop's clock.
        effective: the session object last told to the client.
        close_now: closes the socket it is attached to, if any.
    """

    def __init__(
        self,
        open_session: Callable[[Outlet], RealtimeSession],
        caller: Caller,
        seat: Seat,
        limits: Limits,
        metrics: Metrics,
        dialect: Dialect,
        on_updated: Callable[[ServedSession], None],
        on_end: Callable[[ServedSession], None],
    ) -> None:
        self.caller, self.dialect = caller, dialect
        self.log = EventLog(limits.replay_events)
        self.effective: dict[str, Any] = {}
        self.close_now: Callable[[Closing], None] | None = None
        self.is_over = False
        self.ends_at_s = now_s() + limits.session_s
        self.seat = seat
        self._limits = limits
        self._metrics, self._on_updated, self._on_end = metrics, on_updated, on_end
        self._running_responses: set[str] = set()
        self.session = open_session(self)

    @property
    def id(self) -> str:
        """The session's id, `sess_...`."""
        return self.session.id

    @property
    def wants_resume(self) -> bool:
        """Whether its client asked to be able to come back."""
        return RESUME in (self.effective.get("include") or ())

    @property
    def unacknowledged_ms(self) -> int:
        """How much audio may be on its way to the client."""
        is_live = not isinstance(self.session.session, TurnSession)
        return self._limits.live_unacknowledged_ms if is_live else self._limits.unacknowledged_ms

    @property
    def is_busy(self) -> bool:
        """Whether a reply is under way or has not been received yet."""
        return bool(self._running_responses) or not self.log.is_received

    def say(self, event: dict[str, Any]) -> int:
        """Add an event of the server's own; its position in the log."""
        position = self.log.end
        if event["type"] == "error":
            self._metrics.protocol_errors_total.labels(_kind(event)).inc()
        payload = self.dialect.encode(event)
        if payload is not None:
            self.log.append(Entry(event["event_id"], payload))
        return position

    async def end(self, result: str) -> None:
        """Close the session and give its place back. Safe to call twice.

        Args:
            result: how it ended, for the metrics.
        """
        if self.is_over:
            return
        self.is_over = True
        self.seat.leave()
        self._metrics.sessions_total.labels(result).inc()
        self._on_end(self)
        self.log.close()
        try:
            await self.session.close()
        finally:
            self.log.forget()

    # For the session: see `realtime.outgoing.Outlet`.

    def put(self, event: dict[str, Any]) -> None:
        """Log an event."""
        self._note(event)
        self.say(event)
        if event["type"] == "session.updated":
            self._on_updated(self)

    async def put_audio(self, event: OutgoingAudio) -> None:
        """Log a piece of audio once the client has taken most of what came before."""
        await self.log.room()
        payload = self.dialect.encode_audio(event)
        self.log.append(Entry(event.event_id, payload, event.duration_ms))

    def take_back_audio(self) -> None:
        """Send none of the audio that has not been sent."""
        self.log.take_back_audio()

    def close(self) -> None:
        """The session says no more."""
        self.log.close()

    def _note(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.created" | "session.updated":
                self.effective = event["session"]
            case "response.created":
                self._running_responses.add(event["response"]["id"])
            case "response.done":
                self._running_responses.discard(event["response"]["id"])


def _kind(event: dict[str, Any]) -> str:
    """An error's code, as a label: short and from the code base, never from the client."""
    return str(event["error"].get("code") or "unknown")[:64]
