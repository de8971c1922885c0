"""What a session has to say and its client has not read yet: bounded, and it can be taken back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from backtalk.stream.events import ReplyAudio

T = TypeVar("T")


class Outbox(Generic[T]):
    """A queue of events from one session to one reader.

    Audio waits for room (`put_audio`), so a client that stops reading stops the reply being made.
    Everything else is small and rare and always gets in, up to `max_events`, past which the
    reader is taken for dead and events are counted instead of kept.

    Args:
        max_audio_events: pieces of audio kept for a reader that lags.
        max_events: bound on all events.
        audio_type: which events are audio.
        on_audio_read: called when the reader has taken a piece of audio.

    Attributes:
        dropped_events: events a dead reader never got.
    """

    def __init__(
        self,
        max_audio_events: int = 64,
        max_events: int = 4096,
        audio_type: type = ReplyAudio,
        on_audio_read: Callable[[T], None] | None = None,
    ) -> None:
        self._events: deque[T] = deque()
        self._audio_type = audio_type
        self._max_audio_events = max_audio_events
        self._max_events = max_events
        self._on_audio_read = on_audio_read
        self._audio_waiting = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._is_closed = False
        self.dropped_events = 0

    def put(self, event: T) -> None:
        """Add an event, audio too; never waits."""
        if self._is_closed:
            return
        if len(self._events) >= self._max_events:
            self.dropped_events += 1
            return
        self._events.append(event)
        self._audio_waiting += isinstance(event, self._audio_type)
        self._changed.set()

    async def put_audio(self, event: T) -> None:
        """Add a piece of audio once there is room for it."""
        while self._audio_waiting >= self._max_audio_events and not self._is_closed:
            self._room.clear()
            await self._room.wait()
        self.put(event)

    def take_back_audio(self) -> None:
        """Remove all audio that has not been read: the reply was stopped."""
        self._events = deque(e for e in self._events if not isinstance(e, self._audio_type))
        self._audio_waiting = 0
        self._room.set()

    def close(self) -> None:
        """No more events; the reader gets what is left and then ends. Safe to call twice."""
        self._is_closed = True
        self._changed.set()
        self._room.set()

    async def read(self) -> AsyncIterator[T]:
        """Yield events in order until the outbox is closed and empty. One reader only."""
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, self._audio_type):
                    self._audio_waiting -= 1
                    self._room.set()
                    if self._on_audio_read is not None:
                        self._on_audio_read(event)
                yield event
            if self._is_closed:
                return
            self._changed.clear()
            await self._changed.wait()
