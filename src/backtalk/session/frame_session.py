"""A session on a fixed clock: one frame in, one frame out, step after step.

Converters and full-duplex systems share it. Input that comes faster than the model can step, or
whose output nobody reads, is never queued for long: past `max_lag_frames` the oldest frames are
dropped and reported, because a live system that runs late stays late.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import numpy as np

from backtalk.audio.framing import Framer
from backtalk.errors import SessionClosedError
from backtalk.session.frame_engine import FrameEngine
from backtalk.session.frame_system import FrameSystem
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

STEPS_PER_REPORT = 100
MAX_UNREAD_MS = 200.0
"""Output kept for a reader that lags; the next thing it hears is not older than this."""


class FrameSession:
    """A session with a frame-clocked system (see `session.Session` for what clients may call).

    The whole session is one reply, number 1: its sample n belongs to input sample
    n - `lookahead_samples`. `close` flushes nothing; `finish` does.

    Args:
        engine: the engine it takes a row of, or a system to have all for itself.
        waits: True makes `feed` wait for the model instead of dropping frames (files).
    Raises:
        CapacityError: the engine has no row left.
        StageError: the engine has failed too often.
    """

    def __init__(self, engine: FrameEngine | FrameSystem, *, waits: bool = False) -> None:
        self._owns_engine = not isinstance(engine, FrameEngine)
        self._engine = engine if isinstance(engine, FrameEngine) else FrameEngine(engine, 1)
        spec = self._engine.spec
        self.system = spec.name
        self.sample_rate_in = self.sample_rate_out = spec.sample_rate
        self._spec = spec
        self._max_lag_frames = None if waits else spec.max_lag_frames
        self._framer = Framer(spec.frame_size)
        self._frames: deque[np.ndarray] = deque()
        self._max_unread_samples = max(
            2 * spec.frame_size, round(MAX_UNREAD_MS * spec.sample_rate / 1000)
        )
        self._unread_samples = 0
        self._fresh: list[np.ndarray] = []
        self._outbox: Outbox[Event] = Outbox(on_audio_read=self._on_audio_read)
        self._dropped_frames = self._dropped_since_report = 0
        self._stepped = asyncio.Event()
        self._out_samples = 0
        self._step_ms: list[float] = []
        self._is_closed = self._is_finishing = self._is_stepping = self._has_failed = False
        self._slot = self._engine.open(self)

    async def feed(self, pcm: np.ndarray) -> None:
        """Hear more of the user; see `Session.feed`."""
        if self._is_closed or self._is_finishing:
            raise SessionClosedError(f"the {self.system} session is closed; open another one")
        self._frames.extend(self._framer.push(checked_pcm(pcm)))
        if not self._frames:
            return
        self._engine.ready(self._slot)
        if self._max_lag_frames is None:
            await self._drained(2)
            return
        while len(self._frames) > self._max_lag_frames:
            self._frames.popleft()
            self._dropped_frames += 1
        self._report_overrun()
        if len(self._frames) > 1:  # a burst: let the model begin before more of it comes
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """The input is over: give out all that belongs to it, then end the reply."""
        missing = self._spec.lookahead_samples + self._framer.pending_samples
        frame_size = self._spec.frame_size
        padding = -(-missing // frame_size) * frame_size - self._framer.pending_samples
        self._frames.extend(self._framer.push(np.zeros(padding, np.float32)))
        self._is_finishing = True
        self._engine.ready(self._slot)
        await self._drained(0)
        self._outbox.put(ReplyDone(now_s(), 1, self._out_samples))

    async def _drained(self, frames_left: int) -> None:
        while (
            len(self._frames) + self._is_stepping > frames_left
            and not self._has_failed
            and not self._is_closed
        ):
            self._stepped.clear()
            await self._stepped.wait()

    def events(self) -> AsyncIterator[Event]:
        """Events in order; see `Session.events`."""
        return self._outbox.read()

    def played(self, turn: int, samples: int) -> None:
        """Nothing here depends on what was played: the clock is the input's."""

    async def close(self) -> None:
        """Stop, give the row back and end `events`. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._engine.release(self._slot, self)
        if self._owns_engine:
            await self._engine.close()
        self._stepped.set()
        self._report_overrun(even_if_unread=True)
        self._report_steps()
        self._outbox.close()

    def next_frame(self) -> np.ndarray | None:
        """For the engine: see `frame_engine.Row`."""
        if not self._frames or self._is_unread:
            return None
        self._is_stepping = True
        return self._frames.popleft()

    def stepped(self, pcm: np.ndarray, text: str, step_ms: float) -> None:
        """For the engine: see `frame_engine.Row`."""
        self._is_stepping = False
        self._step_ms.append(step_ms)
        self._report_overrun()
        if text:
            self._outbox.put(ReplyText(now_s(), 1, text))
        self._fresh.append(pcm)
        self._unread_samples += len(pcm)
        if self._frames:
            self._engine.ready(self._slot)
        if not (self._frames and self._spec.steps_on_loop) or self._is_unread:
            self._give_out()  # else the next frame of the same burst follows at once
        if len(self._step_ms) >= STEPS_PER_REPORT:
            self._report_steps()
        self._stepped.set()

    def failed(self, message: str) -> None:
        """For the engine: see `frame_engine.Row`."""
        self._frames.clear()
        self._is_finishing = self._has_failed = True
        self._is_stepping = False
        self._report_steps()
        self._outbox.put(SessionError(now_s(), "system", message))
        self._stepped.set()
        self._outbox.close()

    @property
    def _is_unread(self) -> bool:
        return self._unread_samples >= self._max_unread_samples

    def _give_out(self) -> None:
        pcm = self._fresh[0] if len(self._fresh) == 1 else np.concatenate(self._fresh)
        self._fresh.clear()
        self._outbox.put(ReplyAudio(now_s(), 1, self._out_samples, pcm))
        self._out_samples += len(pcm)

    def _on_audio_read(self, event: Event) -> None:
        assert isinstance(event, ReplyAudio)
        self._unread_samples -= len(event.pcm)
        if self._frames:
            self._engine.ready(self._slot)

    def _report_overrun(self, *, even_if_unread: bool = False) -> None:
        """Say what was dropped; to a reader that lags, once, when it reads again."""
        if self._dropped_frames and (even_if_unread or not self._is_unread):
            self._outbox.put(Overrun(now_s(), self._dropped_frames))
            self._dropped_since_report += self._dropped_frames
            self._dropped_frames = 0

    def _report_steps(self) -> None:
        if not self._step_ms:
            return
        ordered = sorted(self._step_ms)
        frame_ms = self._spec.frame_ms
        floor_ms = frame_ms + 1000.0 * self._spec.lookahead_samples / self._spec.sample_rate
        p50, p95, p99 = (ordered[int(q * (len(ordered) - 1))] for q in (0.5, 0.95, 0.99))
        late = sum(ms > frame_ms for ms in ordered)
        dropped_ms = frame_ms * self._dropped_since_report
        self._outbox.put(
            StepsMeasured(now_s(), len(ordered), p50, p95, p99, late, floor_ms, dropped_ms)
        )
        self._step_ms.clear()
        self._dropped_since_report = 0
