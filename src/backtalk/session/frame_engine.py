"""One frame-clocked model, many sessions: a row each, all rows that have a frame in one step.

The model is touched by one thread only. A session takes a row when it opens and gives it back when
it closes; the row is made as good as new before anybody else's first frame reaches it. Nobody waits
for anybody: a row steps when it has a whole frame and its session has room for what comes out.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import Any, Protocol

import numpy as np

from backtalk.errors import BacktalkError, CapacityError, ConfigError, StageError
from backtalk.session.frame_system import FrameSystem, StepOut
from backtalk.stream.clock import now_s
from backtalk.stream.worker import ModelWorker

WARM_UP_STEPS = 4
MAX_FAILURES = 3
FAILURES_WITHIN_S = 60.0


class Row(Protocol):
    """The owner of a row, as the engine sees it: called on the event loop, and may not block."""

    def next_frame(self) -> np.ndarray | None:
        """Take the row's oldest frame; None if there is none, or no room for what it gives."""
        ...

    def stepped(self, pcm: np.ndarray, text: str, step_ms: float) -> None:
        """Its frame gave `pcm` (float32 [frame_size], its own memory) and `text`."""
        ...

    def failed(self, message: str) -> None:
        """The row is no longer its own: the model, or its part of the output, broke."""
        ...


class FrameEngine:
    """Steps one system for up to `slots` sessions.

    Args:
        system: loaded.
        slots: rows, fixed for good.
    Attributes:
        refusal: why no session can be opened any more, None while all is well.
    Raises:
        ConfigError: no slots.
    """

    def __init__(self, system: FrameSystem, slots: int) -> None:
        if slots < 1:
            raise ConfigError(f"slots must be at least 1, not {slots}")
        self.spec = system.spec
        self.slots = slots
        self.refusal: str | None = None
        self._system = system
        self._state: Any = None  # taken on the model's thread by the first step or the warm-up
        self._worker = None if self.spec.steps_on_loop else ModelWorker(self.spec.name)
        self._rows: list[Row | None] = [None] * slots
        self._free = deque(range(slots))
        self._ready: set[int] = set()
        self._given_back: set[int] = set()
        self._pcm = np.zeros((slots, self.spec.frame_size), np.float32)
        self._active = np.zeros(slots, bool)
        self._is_stepping = False
        self._wake = asyncio.Event()
        self._failures_s: deque[float] = deque(maxlen=MAX_FAILURES)
        self._task: asyncio.Task[None] | None = None

    @property
    def free_slots(self) -> int:
        """Rows that nobody has."""
        return len(self._free)

    async def warm_up(self) -> None:
        """Take all memory and step all rows on silence, so that the first frame is not slow."""
        if self._worker is None:
            self._warm_up()
        else:
            await self._worker.run(self._warm_up)

    def open(self, row: Row) -> int:
        """Give a row to its new owner.

        Returns:
            The slot, for `ready` and `release`.
        Raises:
            CapacityError: all rows are taken.
            StageError: the model has failed too often; see `refusal`.
        """
        if self.refusal is not None:
            raise StageError("system", self.refusal)
        if not self._free:
            raise CapacityError(
                f"all {self.slots} sessions of {self.spec.name} are taken; try again later"
            )
        slot = self._free.popleft()
        self._rows[slot] = row
        if self._task is None and self._worker is not None:
            self._task = asyncio.create_task(self._run(self._worker))
        return slot

    def ready(self, slot: int) -> None:
        """The row has a frame now, or room again; a system that steps on the loop steps at once."""
        self._ready.add(slot)
        if self._worker is not None:
            self._wake.set()
        elif not self._is_stepping:
            self._step_here()

    def release(self, slot: int, row: Row) -> None:
        """Give the row back; does nothing if it is no longer this owner's."""
        if self._rows[slot] is not row:
            return
        self._rows[slot] = None
        self._free.append(slot)
        self._ready.discard(slot)
        self._given_back.add(slot)
        self._wake.set()

    async def close(self) -> None:
        """Stop stepping and let the thread end. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._worker is not None:
            self._worker.close()

    async def _run(self, worker: ModelWorker) -> None:
        while True:
            if not self._ready and not self._given_back:
                self._wake.clear()
                await self._wake.wait()
            rows = self._gather()
            dirty, self._given_back = self._given_back, set()
            began_s = time.perf_counter()
            try:
                out = await worker.run(self._step, dirty, bool(rows))
            except Exception as error:  # a model's bug ends its sessions, not the server
                self._fail(error)
            else:
                self._hand_out(rows, out, 1000.0 * (time.perf_counter() - began_s))

    def _step_here(self) -> None:
        """Step on the event loop until no row has a frame. Rows may call `ready` meanwhile."""
        self._is_stepping = True
        try:
            while rows := self._gather():
                dirty, self._given_back = self._given_back, set()
                began_s = time.perf_counter()
                try:
                    out = self._step(dirty, True)
                except Exception as error:
                    self._fail(error)
                else:
                    self._hand_out(rows, out, 1000.0 * (time.perf_counter() - began_s))
        finally:
            self._is_stepping = False

    def _gather(self) -> list[tuple[int, Row]]:
        """Take one frame of every row that has one; those rows are the active ones."""
        ready, self._ready = self._ready, set()
        rows, active = [], self._active
        active.fill(False)
        for slot in ready:
            row = self._rows[slot]
            frame = row.next_frame() if row is not None else None
            if row is not None and frame is not None:
                self._pcm[slot] = frame
                active[slot] = True
                rows.append((slot, row))
        return rows

    def _step(self, dirty: set[int], has_active: bool) -> StepOut | None:
        """On the model's thread: clean the rows that were given back, step the active ones."""
        if self._state is None:
            self._state = self._system.alloc(self.slots)
        elif dirty:
            mask = np.zeros(self.slots, bool)
            mask[list(dirty)] = True
            self._system.reset(self._state, mask)
        if not has_active:
            return None
        out = self._system.step(self._state, self._pcm, self._active)
        pcm = np.asarray(out.pcm)
        if pcm.shape != self._pcm.shape:
            raise ValueError(f"a step gave PCM of shape {pcm.shape}, not {self._pcm.shape}")
        return StepOut(pcm, out.text)

    def _warm_up(self) -> None:
        state = self._system.alloc(self.slots)
        everyone = np.ones(self.slots, bool)
        for _ in range(WARM_UP_STEPS):
            self._system.step(state, np.zeros_like(self._pcm), everyone)
        self._system.reset(state, everyone)
        if self._state is None:
            self._state = state

    def _hand_out(self, rows: list[tuple[int, Row]], out: StepOut | None, step_ms: float) -> None:
        if out is None:
            return
        for slot, row in rows:
            if self._rows[slot] is not row:
                continue  # closed while the step ran: the slot may have a new owner already
            pcm = out.pcm[slot].astype(np.float32)  # a copy: the system may write over its own
            if not math.isfinite(pcm.dot(pcm)):  # a sum keeps what is not a number, and is quick
                self.release(slot, row)
                row.failed(f"{self.spec.name} gave samples that are not numbers; session stopped")
                continue
            row.stepped(pcm, out.text[slot] if out.text else "", step_ms)

    def _fail(self, error: Exception) -> None:
        """No row of a state that a step died in can be trusted: tell everybody, begin anew."""
        known = isinstance(error, BacktalkError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        message = reason if known else f"{self.spec.name} failed: {reason}"
        self._failures_s.append(now_s())
        is_often = len(self._failures_s) == MAX_FAILURES
        if is_often and self._failures_s[-1] - self._failures_s[0] <= FAILURES_WITHIN_S:
            self.refusal = (
                f"{self.spec.name} failed {MAX_FAILURES} times within {FAILURES_WITHIN_S:.0f} s, "
                f"last with {reason}; restart the server"
            )
        rows = [row for row in self._rows if row is not None]
        self._rows = [None] * self.slots
        self._free = deque(range(self.slots))
        self._ready.clear()
        self._given_back.clear()
        self._state = None
        for row in rows:
            row.failed(message)
