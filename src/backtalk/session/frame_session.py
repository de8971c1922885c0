"""A session on a fixed clock: one frame in, one frame out, step after step.

Converters and full-duplex systems share it. Input that comes faster than the model can step is
never queued for long: past `max_lag_frames` the oldest frames are dropped and reported, because a
live system that runs late stays late.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from backtalk.audio.framing import Framer
from backtalk.errors import BacktalkError, SessionClosedError
from backtalk.session.session import checked_pcm
from backtalk.stream.clock import now_s
from backtalk.stream.events import (
    Event,
    Overrun,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    SessionError,
    StepsMeasured,
)
from backtalk.stream.outbox import Outbox
from backtalk.stream.worker import ModelWorker

STEPS_PER_REPORT = 100


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What a frame-clocked system takes and gives.

    Attributes:
        name: its id on the command line.
        sample_rate: Hz, in and out.
        frame_size: samples per step, in and out.
        lookahead_samples: input it needs beyond a sample before it can give that sample.
        max_lag_frames: frames it may be behind before the oldest are dropped; None never drops
            (files: the feeder waits instead).
    """

    name: str
    sample_rate: int
    frame_size: int
    lookahead_samples: int = 0
    max_lag_frames: int | None = 10


@dataclass(frozen=True, slots=True)
class StepOut:
    """What one step of all rows gave.

    Attributes:
        pcm: float32 [slots, frame_size]; rows that were not active are undefined.
        text: what each row says with it, "" where nothing.
    """

    pcm: np.ndarray = field(repr=False)
    text: tuple[str, ...] = ()


class FrameSystem(Protocol):
    """A loaded frame-clocked system. Its state is a value with one row (slot) per session."""

    spec: FrameSpec

    def alloc(self, slots: int) -> Any:
        """State for `slots` sessions; all memory is taken here, none in `step`."""
        ...

    def reset(self, state: Any, mask: np.ndarray) -> None:
        """Make the rows where `mask` (bool [slots]) is True as good as new."""
        ...

    def step(self, state: Any, pcm: np.ndarray, active: np.ndarray) -> StepOut:
        """Step the rows where `active` (bool [slots]); the others stay untouched.

        Args:
            pcm: float32 [slots, frame_size].
        """
        ...


class FrameSession:
    """A session with a frame-clocked system (see `session.Session` for what clients may call).

    The whole session is one reply, number 1: its sample n belongs to input sample
    n - `lookahead_samples`. `close` flushes nothing; `finish` does.

    Args:
        system: the system, loaded and warm.
        waits: True makes `feed` wait for the model instead of dropping frames (files).
    """

    def __init__(self, system: FrameSystem, *, waits: bool = False) -> None:
        spec = system.spec
        self.system = spec.name
        self.sample_rate_in = self.sample_rate_out = spec.sample_rate
        self._model = system
        self._state = system.alloc(1)
        self._max_lag_frames = None if waits else spec.max_lag_frames
        self._framer = Framer(spec.frame_size)
        self._frames: deque[np.ndarray] = deque()
        self._outbox = Outbox()
        self._worker = ModelWorker(spec.name)
        self._changed = asyncio.Event()
        self._stepped = asyncio.Event()
        self._out_samples = 0
        self._in_samples = 0
        self._step_ms: list[float] = []
        self._is_closed = self._is_finishing = self._is_stepping = False
        self._task = asyncio.create_task(self._run())

    async def feed(self, pcm: np.ndarray) -> None:
        """Hear more of the user; see `Session.feed`."""
        if self._is_closed or self._is_finishing:
            raise SessionClosedError(f"the {self.system} session is closed; open another one")
        pcm = checked_pcm(pcm)
        self._in_samples += len(pcm)
        self._frames.extend(self._framer.push(pcm))
        self._changed.set()
        if self._max_lag_frames is None:
            await self._drained(2)
            return
        dropped = max(0, len(self._frames) - self._max_lag_frames)
        for _ in range(dropped):
            self._frames.popleft()
        if dropped:
            self._outbox.put(Overrun(now_s(), dropped))
        await asyncio.sleep(0)

    async def finish(self) -> None:
        """The input is over: give out all that belongs to it, then end the reply."""
        missing = self._model.spec.lookahead_samples + self._framer.pending_samples
        frame_size = self._model.spec.frame_size
        padding = -(-missing // frame_size) * frame_size - self._framer.pending_samples
        self._frames.extend(self._framer.push(np.zeros(padding, np.float32)))
        self._is_finishing = True
        self._changed.set()
        await self._drained(0)
        self._outbox.put(ReplyDone(now_s(), 1, self._out_samples))

    async def _drained(self, frames_left: int) -> None:
        while len(self._frames) + self._is_stepping > frames_left and not self._task.done():
            self._stepped.clear()
            await self._stepped.wait()

    def events(self) -> AsyncIterator[Event]:
        """Events in order; see `Session.events`."""
        return self._outbox.read()

    def played(self, turn: int, samples: int) -> None:
        """Nothing here depends on what was played: the clock is the input's."""

    async def close(self) -> None:
        """Stop, give the slot back and end `events`. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._worker.close()
        self._report_steps()
        self._outbox.close()

    async def _run(self) -> None:
        active = np.array([True])
        while True:
            while not self._frames:
                self._changed.clear()
                await self._changed.wait()
            frame, self._is_stepping = self._frames.popleft(), True
            began_s = time.perf_counter()
            try:
                out = await self._worker.run(self._model.step, self._state, frame[None], active)
            except BacktalkError as error:
                self._fail(str(error))
                return
            except Exception as error:  # a model's bug ends this session, not the server
                self._fail(f"{self.system} failed: {type(error).__name__}: {error}")
                return
            pcm = np.asarray(out.pcm)[0]
            if not np.isfinite(pcm).all():
                self._fail(f"{self.system} gave samples that are not numbers; session stopped")
                return
            self._step_ms.append(1000.0 * (time.perf_counter() - began_s))
            if out.text and out.text[0]:
                self._outbox.put(ReplyText(now_s(), 1, out.text[0]))
            event = ReplyAudio(now_s(), 1, self._out_samples, pcm)
            self._out_samples += len(pcm)
            await self._outbox.put_audio(event)
            if len(self._step_ms) >= STEPS_PER_REPORT:
                self._report_steps()
            self._is_stepping = False
            self._stepped.set()

    def _fail(self, message: str) -> None:
        self._frames.clear()
        self._is_finishing = True
        self._outbox.put(SessionError(now_s(), "system", message))
        self._stepped.set()
        self._outbox.close()

    def _report_steps(self) -> None:
        if not self._step_ms:
            return
        ordered = sorted(self._step_ms)
        spec = self._model.spec
        frame_ms = 1000.0 * spec.frame_size / spec.sample_rate
        floor_ms = frame_ms + 1000.0 * spec.lookahead_samples / spec.sample_rate
        p50, p95 = (ordered[int(q * (len(ordered) - 1))] for q in (0.5, 0.95))
        late = sum(ms > frame_ms for ms in ordered)
        self._outbox.put(StepsMeasured(now_s(), len(ordered), p50, p95, late, floor_ms))
        self._step_ms.clear()
