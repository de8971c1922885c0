"""How fast a client may talk: over its budget it is read more slowly, and TCP holds it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backtalk.errors import ProtocolError
from backtalk.realtime.limits import Limits
from backtalk.server.closing import POLICY, Closing
from backtalk.server.token_bucket import TokenBucket

SHORTEST_APPEND_MS = 5.0
"""An append counts as at least this much audio, so that a flood of tiny ones is held back too."""

OFFENCES = 20
OFFENCES_PER_S = 1.0


class IncomingLimits:
    """One connection's budgets."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._audio_s = TokenBucket(limits.audio_burst_s, limits.audio_rate)
        self._events = TokenBucket(limits.event_burst, limits.events_per_s)
        self._offences = TokenBucket(OFFENCES, OFFENCES_PER_S)
        self._empty_appends = 0

    def wait_s(self, event: Mapping[str, Any], session: Mapping[str, Any]) -> float:
        """Spend what an event costs.

        Args:
            event: the client event.
            session: the effective session object, for its input format.
        Returns:
            How long to read nothing more, in seconds.
        Raises:
            Closing: too many appends without audio in a row.
        """
        if event.get("type") != "input_audio_buffer.append":
            return self._events.spend()
        audio = event.get("audio")
        size = len(audio) if isinstance(audio, str) else 0
        self._empty_appends = 0 if size else self._empty_appends + 1
        if self._empty_appends > self._limits.empty_appends:
            raise Closing(POLICY, "too_many_empty_appends", "no audio in any of these appends")
        audio_ms = size * 3 / 4 / _bytes_per_ms(session)
        return self._audio_s.spend(max(SHORTEST_APPEND_MS, audio_ms) / 1000)

    def offend(self, error: ProtocolError) -> None:
        """Count a message that was not a client event at all.

        Raises:
            Closing: too many of them.
        """
        if not self._offences.take():
            raise Closing(POLICY, "too_many_errors", f"too many bad messages; the last: {error}")


def _bytes_per_ms(session: Mapping[str, Any]) -> int:
    """Of the session's input format: 24 kHz PCM16 or 8 kHz G.711."""
    given = ((session.get("audio") or {}).get("input") or {}).get("format") or {}
    return 8 if given.get("type") in ("audio/pcmu", "audio/pcma") else 48
