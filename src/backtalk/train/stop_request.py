"""Ctrl-C and SIGTERM as a wish that is looked at between steps, so that no step is cut in half."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While it is entered, the first signal is noted; a second one acts as it did before.

    Attributes:
        is_made: whether somebody wants the run to stop.
    """

    def __init__(self) -> None:
        self.is_made = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # only there can it be done
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._put_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_made = True
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}


def leave_signals_to_parent(worker: int) -> None:
    """In a process that prepares data: end when the parent says so, not before it."""
    for number in _SIGNALS:  # both may be sent to all processes at once
        signal.signal(number, signal.SIG_IGN)
