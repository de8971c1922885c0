"""Who may look on at a session: metrics, spans, recordings. They see what is below the protocol."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from backtalk.stream.events import Event


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
