"""Cancellation that reaches worker threads: a flag checked between steps of work."""

from __future__ import annotations

import threading


class CancelToken:
    """Set once, from anywhere; cancelling twice is a no-op.

    Stages check it between steps (a token, a chunk); a running kernel is never torn down.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """True once `cancel` was called."""
        return self._event.is_set()
