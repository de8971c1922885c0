"""An agent whose sessions are watched: for metrics, spans and recordings.

What is watched is the session itself, below the protocol, so that it is the same for every
transport and whether or not a client asked to be told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

import numpy as np

from backtalk.session.session import Session
from backtalk.session.settings import TurnSettings
from backtalk.stream.events import Event
from backtalk.systems import Agent


class SessionObserver(Protocol):
    """Told what happens in one session, on the event loop; it may not block."""

    def heard(self, pcm: np.ndarray, sample_rate: int) -> None:
        """The user's audio, float32 [T], as it arrives."""
        ...

    def event(self, event: Event) -> None:
        """What the session tells its client."""
        ...

    def closed(self) -> None:
        """The session is over."""
        ...


class ObservedAgent:
    """An agent as it was, with observers on every session it opens.

    Args:
        observers: makes them for a new session.
    """

    def __init__(
        self, agent: Agent, observers: Callable[[Session], Sequence[SessionObserver]]
    ) -> None:
        self.name: str = agent.name
        self.details: dict[str, Any] = agent.details
        self._agent, self._observers = agent, observers

    async def warm_up(self) -> None:
        """As the agent does."""
        await self._agent.warm_up()

    def open_session(self, settings: TurnSettings | None = None) -> Session:
        """A new session of the agent, watched."""
        session = self._agent.open_session(settings)
        watch(session, self._observers(session))
        return session

    async def close(self) -> None:
        """As the agent does."""
        await self._agent.close()


def watch(session: Session, observers: Sequence[SessionObserver]) -> None:
    """Let observers see a session that has just been opened.

    Its methods are replaced on the object; a wrapper around it would hide what kind it is.
    """
    feed, events, close = session.feed, session.events, session.close
    is_open = True

    async def watched_feed(pcm: np.ndarray) -> None:
        for observer in observers:
            observer.heard(pcm, session.sample_rate_in)
        await feed(pcm)

    async def watched_events() -> AsyncIterator[Event]:
        async for event in events():
            for observer in observers:
                observer.event(event)
            yield event

    async def watched_close() -> None:
        nonlocal is_open
        await close()
        if is_open:
            is_open = False
            for observer in observers:
                observer.closed()

    vars(session).update(feed=watched_feed, events=watched_events, close=watched_close)
