"""What a session has said: written once, read by whichever socket listens, kept for a return."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One server event, ready to send.

    Attributes:
        payload: its JSON.
        audio_ms: how much audio it carries, 0 if none.
    """

    event_id: str
    payload: bytes = field(repr=False)
    audio_ms: float = 0.0


class EventLog:
    """Events in order, each at a position that never changes.

    The writer (`append`) is held back by `room`, the reader (`next`, `sent`) by its socket.
    Events leave the log once they were received (`acknowledge`) and `KEPT` more as well, or when
    there are more than `max_events`.

    Args:
        max_events: sent and unsent ones together.
    """

    KEPT = 128
    """Received by the client's library and kept: its program may not have read them yet."""

    MAX_UNSENT_AUDIO_MS = 240.0
    """Audio taken from the session and not sent. More would be stale if it were interrupted."""

    def __init__(self, max_events: int) -> None:
        self._max_events = max_events
        self._entries: deque[Entry] = deque()
        self._start = 0
        self._unsent_audio_ms = 0.0
        self._is_closed = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self.position = 0
        self.acknowledged = 0

    @property
    def end(self) -> int:
        """The position of the next event to be appended."""
        return self._start + len(self._entries)

    @property
    def is_received(self) -> bool:
        """Whether the client has received everything."""
        return self.acknowledged >= self.end

    def append(self, entry: Entry) -> int:
        """Add an event, never waiting; its position."""
        position = self.end
        self._entries.append(entry)
        self._unsent_audio_ms += entry.audio_ms
        self._prune()
        self._changed.set()
        return position

    async def room(self) -> None:
        """Wait until the reader has caught up enough for more to be said."""
        while not self._is_closed and not self._has_room():
            self._room.clear()
            await self._room.wait()

    async def next(self) -> Entry | None:
        """The first event not sent yet; None when the log is closed and all is sent."""
        while self.position >= self.end:
            if self._is_closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._entries[self.position - self._start]

    def sent(self) -> None:
        """`next` was sent; go on to the one after it."""
        self._unsent_audio_ms -= self._entries[self.position - self._start].audio_ms
        self.position += 1
        if self._has_room():
            self._room.set()

    def acknowledge(self, position: int) -> None:
        """The client has received everything before `position`."""
        self.acknowledged = max(self.acknowledged, position)
        self._prune()

    def rewind(self, last_event_id: str | None) -> None:
        """Read again from after an event.

        Args:
            last_event_id: the last one the client has; None if it does not say: from what it is
                not known to have received. One that is not kept any more: from the oldest kept.
        """
        self.position = max(self._start, self.acknowledged)
        if last_event_id is not None:
            ids = [entry.event_id for entry in self._entries]
            known = ids.index(last_event_id) + 1 if last_event_id in ids else 0
            self.position = self._start + known
            self.acknowledged = min(self.acknowledged, self.position)
        unsent = list(self._entries)[self.position - self._start :]
        self._unsent_audio_ms = sum(entry.audio_ms for entry in unsent)

    def close(self) -> None:
        """Nothing more will be said. Safe to call twice."""
        self._is_closed = True
        self._changed.set()
        self._room.set()

    def _has_room(self) -> bool:
        return (
            self._unsent_audio_ms < self.MAX_UNSENT_AUDIO_MS
            and self.end - self.position < self._max_events
        )

    def _prune(self) -> None:
        while len(self._entries) > self._max_events or (
            self._start < self.acknowledged - self.KEPT
        ):
            if self._start >= self.position:
                return
            self._entries.popleft()
            self._start += 1
