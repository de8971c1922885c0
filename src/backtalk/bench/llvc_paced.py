"""A live session on the real clock: a chunk every 13 ms, and when its conversion came back.

What is measured is what a microphone's owner would notice: from the moment a chunk should have
been full to the moment its conversion is there, event loop, threads and the machine's other work
included.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtalk.latency.percentiles import percentiles
from backtalk.machine import StolenTime, rss_mib
from backtalk.session.converter import Converter
from backtalk.session.frame_engine import FrameEngine
from backtalk.session.frame_session import FrameSession
from backtalk.stream.clock import now_s
from backtalk.stream.events import Overrun, ReplyAudio

BUFFERS_MS = (2.0, 5.0, 13.0, 26.0)
"""Playback buffers for which it is said how often they would have run dry."""


@dataclass
class PacedRun:
    """What came back.

    Attributes:
        late_ms: of every chunk, from when it was due in full to when its conversion was there.
        heard: float32 [T], all that came back, if it was to be kept.
        dropped: chunks that the session left out.
        frame_ms: what a chunk lasts.
        rss_mib: memory of the process at the beginning and at the end, both after the warm-up.
        stolen: share of processor time that the host of a virtual machine kept for others.
    """

    frame_ms: float
    late_ms: list[float] = field(default_factory=list)
    heard: list[np.ndarray] = field(default_factory=list)
    dropped: int = 0
    rss_mib: tuple[float, float] = (0.0, 0.0)
    stolen: float | None = None

    @property
    def chunks(self) -> int:
        """All that went in."""
        return len(self.late_ms) + self.dropped

    @property
    def missed(self) -> int:
        """Chunks that were not there when the next one was due, those left out included."""
        return self.dropped + sum(ms > self.frame_ms for ms in self.late_ms)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        chunk_ms = percentiles(self.late_ms)
        dry = {f"{buffer:g}": sum(ms > buffer for ms in self.late_ms) for buffer in BUFFERS_MS}
        return {
            "minutes": round(self.chunks * self.frame_ms / 60_000, 3),
            "chunks": self.chunks,
            "chunk_ms": None if chunk_ms is None else chunk_ms.as_dict(3),
            "missed_chunks": self.missed,
            "dropped_chunks": self.dropped,
            "chunks_later_than_ms": dry,
            "rss_mib": [round(mib, 1) for mib in self.rss_mib],
            "stolen_share": None if self.stolen is None else round(self.stolen, 4),
        }


async def run_paced(
    converter: Converter, frames: AsyncIterator[np.ndarray], *, keeps_sound: bool = False
) -> PacedRun:
    """Feed a session of its own a frame whenever one is due, until there are no more.

    Args:
        converter: the system.
        frames: float32 [frame_size] each.
        keeps_sound: fill `heard`.
    """
    engine = FrameEngine(converter, 1)
    await engine.warm_up()
    session = FrameSession(engine)
    run = PacedRun(engine.spec.frame_ms, rss_mib=(rss_mib(), 0.0))
    stolen = StolenTime()
    due_s: list[float] = []
    listening = asyncio.create_task(_listen(session, run, due_s, keeps_sound))
    frame_s, began_s = run.frame_ms / 1000, now_s()
    async for frame in frames:
        due_s.append(began_s + (len(due_s) + 1) * frame_s)
        await asyncio.sleep(max(0.0, due_s[-1] - now_s()))
        await session.feed(frame)
    await asyncio.sleep(10 * frame_s)
    await session.close()
    await listening
    await engine.close()
    run.rss_mib, run.stolen = (run.rss_mib[0], rss_mib()), stolen.share()
    return run


async def _listen(
    session: FrameSession, run: PacedRun, due_s: list[float], keeps_sound: bool
) -> None:
    async for event in session.events():
        match event:
            case ReplyAudio():
                chunk = len(run.late_ms) + run.dropped
                run.late_ms.append(1000 * (now_s() - due_s[chunk]))
                if keeps_sound:
                    run.heard.append(event.pcm)
            case Overrun():
                run.dropped += event.frames


async def speech_frames(
    speech: np.ndarray, frame_size: int, seconds: float, sample_rate: int
) -> AsyncIterator[np.ndarray]:
    """Frames of a recording that begins anew at its end."""
    for n in range(round(seconds * sample_rate / frame_size)):
        at = n * frame_size
        yield np.take(speech, range(at, at + frame_size), mode="wrap")
