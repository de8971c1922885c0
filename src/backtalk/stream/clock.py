"""Session time: the event loop's clock, and a loop on which waiting costs nothing.

All of Backtalk reads time from the running event loop, so swapping the loop swaps the clock. On
`VirtualTimeLoop` a pause is skipped, not waited for: thirty seconds of conversation pass in the
time their computation takes (`backtalk talk --fast`) or in none at all (unit tests).
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def now_s() -> float:
    """Session time in seconds: the running loop's monotonic clock, arbitrary zero."""
    return asyncio.get_running_loop().time()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps to its next timer instead of sleeping.

    It sleeps for real only while work goes on outside the loop: in executor threads, which it
    counts by itself, and in network waits wrapped in `waiting_on_outside`.

    Args:
        counts_work: True lets the time that computation takes pass on the virtual clock, so that
            latencies are those of a real-time run. False keeps the clock still while anything
            computes: deterministic, for tests.
    """

    def __init__(self, *, counts_work: bool = False) -> None:
        self._counts_work = counts_work
        self._skipped_s = 0.0
        self._works_outside = 0
        super().__init__(_SkippingSelector(self))

    def time(self) -> float:
        """Virtual seconds."""
        return self._skipped_s + (time.monotonic() if self._counts_work else 0.0)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As in asyncio; time is not skipped until the work is done."""
        self._works_outside += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: self._work_ended())
        return future

    def _work_ended(self) -> None:
        self._works_outside -= 1


class _SkippingSelector(selectors.DefaultSelector):
    """Turns the loop's sleep into a jump of its clock."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        loop = self._loop
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if loop._works_outside:
            # With a still clock the timer must not fire before the work outside is done.
            return super().select(timeout if loop._counts_work else None)
        ready = super().select(0)
        if not ready:
            loop._skipped_s += timeout
        return ready


@contextmanager
def waiting_on_outside() -> Iterator[None]:
    """Keep a virtual clock from skipping while the caller awaits the network."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        yield
        return
    loop._works_outside += 1
    try:
        yield
    finally:
        loop._work_ended()


def run_virtual(main: Coroutine[Any, Any, T], *, counts_work: bool = False) -> T:
    """Run a coroutine to its end on virtual time, as `asyncio.run` does on real time."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(counts_work=counts_work)) as runner:
        return runner.run(main)
