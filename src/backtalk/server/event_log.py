"""What a session has said: written once, read by whichever socket listens, kept for a return."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class Entry(NamedTuple):
    """One server event, ready to send.

    Attributes:
        payload: its JSON; empty for audio that was taken back.
        audio_ms: how much audio it carries, 0 if none.
    """

    event_id: str
    payload: bytes
    audio_ms: float = 0.0


class EventLog:
    """Events in order, each at a position that never changes.

    The writer (`append`) is held back by `room`, the reader (`unsent`, `sent`) by its socket.
    Events leave the log once they were received (`acknowledge`) and `kept` more as well, or when
    there are more than `max_events`.

    Args:
        max_events: sent and unsent ones together.

    Attributes:
        on_news: the reader, called whenever there may be more for it: at once, so that a frame on
            its way to a socket visits no other task.
        position: of the first event not sent.
        acknowledged: everything before this position was received.
        kept: received events that stay; none, unless the client may come back.
        is_closed: nothing more will be said.
    """

    KEPT = 128
    """Received by the client's library and kept, for a client that may come back (`kept`): its
    program may not have read them yet."""

    MAX_UNSENT_AUDIO_MS = 240.0
    """Audio taken from the session and not sent. More would be stale if it were interrupted."""

    def __init__(self, max_events: int) -> None:
        self._max_events = max_events
        self._entries: deque[Entry] = deque()
        self._start = 0
        self._unsent_audio_ms = 0.0
        self._room = asyncio.Event()
        self.on_news: Callable[[], None] | None = None
        self.is_closed = False
        self.kept = 0
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
        self._tell()
        return position

    async def room(self) -> None:
        """Wait until the reader has caught up enough for more to be said."""
        while not self.is_closed and not self._has_room():
            self._room.clear()
            await self._room.wait()

    def unsent(self) -> Entry | None:
        """The first event not sent yet, if there is one."""
        while self.position < self.end:
            entry = self._entries[self.position - self._start]
            if entry.payload:
                return entry
            self.position += 1
        return None

    def sent(self) -> None:
        """`unsent` was sent; go on to the one after it."""
        self._unsent_audio_ms -= self._entries[self.position - self._start].audio_ms
        self.position += 1
        if not self._room.is_set() and self._has_room():
            self._room.set()

    def take_back_audio(self) -> None:
        """Let no audio be sent that has not been sent: nobody is to hear it any more."""
        for at in range(self.position - self._start, len(self._entries)):
            if self._entries[at].audio_ms:
                self._entries[at] = Entry(self._entries[at].event_id, b"")
        self._unsent_audio_ms = 0.0
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
        self.is_closed = True
        self._room.set()
        self._tell()

    def forget(self) -> None:
        """Nobody will read again: keep nothing.

        A session that is over is a knot of references that only the garbage collector unties, and
        it comes late; the events would be most of what waits for it.
        """
        self.position = self._start = self.end
        self._entries.clear()

    def _tell(self) -> None:
        if self.on_news is not None:
            self.on_news()

    def _has_room(self) -> bool:
        return (
            self._unsent_audio_ms < self.MAX_UNSENT_AUDIO_MS
            and self.end - self.position < self._max_events
        )

    def _prune(self) -> None:
        while len(self._entries) > self._max_events or (
            self._start < self.acknowledged - self.kept
        ):
            if self._start >= self.position:
                return
            self._entries.popleft()
            self._start += 1
