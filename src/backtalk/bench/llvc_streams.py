"""How many streams one core keeps up with: all of them stepped in turn within a chunk's time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from backtalk.latency.percentiles import percentiles
from backtalk.llvc.engine import LlvcEngine
from backtalk.machine import rss_mib

MOST_STREAMS = 64


@dataclass
class StreamCount:
    """So many streams on one thread.

    Attributes:
        streams: how many.
        frame_ms: what a chunk lasts.
        round_ms: of every chunk, from when it was due to when all streams had theirs.
    """

    streams: int
    frame_ms: float
    round_ms: list[float] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """Chunks for which not all streams were done when the next was due."""
        return sum(ms > self.frame_ms for ms in self.round_ms)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        round_ms = percentiles(self.round_ms)
        return {
            "streams": self.streams,
            "round_ms": None if round_ms is None else round_ms.as_dict(2),
            "missed_chunks": self.missed,
        }


def count_streams(
    engine: LlvcEngine,
    speech: np.ndarray,
    seconds: float,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Add or take away streams until as many as possible keep up.

    Begins with as many as fit by the time of one, on the real clock; what one chunk is late, the
    next one begins late.

    Args:
        engine: of the voice.
        speech: float32 [T]; every stream hears another part of it.
        seconds: of sound for each number of streams.
    Returns:
        `keeps_up` (the largest number without a missed chunk; 0 if none), `tried` (of each number,
        what was measured) and `stream_mib` (what one more stream adds to the process).
    """
    frame_s = engine.frame_size / engine.sample_rate
    before_mib = rss_mib()
    rows = [engine.open_row() for _ in range(MOST_STREAMS)]
    for row in rows:
        row.step(speech[: engine.frame_size])
    stream_mib = (rss_mib() - before_mib) / MOST_STREAMS
    one = StreamCount(1, 1000 * frame_s)
    _run(rows[:1], engine.frame_size, frame_s, speech, min(seconds, 1.0), one)
    streams = max(1, min(MOST_STREAMS, int(one.frame_ms / median(one.round_ms))))
    keeps_up, fails_at = 0, MOST_STREAMS + 1
    tried = []
    while keeps_up < streams < fails_at:
        told(f"{streams} streams on one core")
        count = StreamCount(streams, one.frame_ms)
        _run(rows[:streams], engine.frame_size, frame_s, speech, seconds, count)
        tried.append(count.as_dict())
        if count.missed:
            fails_at, streams = streams, streams - 1
        else:
            keeps_up, streams = streams, streams + 1
    return {"keeps_up": keeps_up, "tried": tried, "stream_mib": round(stream_mib, 2)}


def _run(
    rows: list[Any],
    frame_size: int,
    frame_s: float,
    speech: np.ndarray,
    seconds: float,
    count: StreamCount,
) -> None:
    frames = speech[: speech.size - speech.size % frame_size].reshape(-1, frame_size)
    began_s = time.perf_counter()
    for n in range(round(seconds / frame_s)):
        due_s = began_s + n * frame_s
        time.sleep(max(0.0, due_s - time.perf_counter()))
        for i, row in enumerate(rows):
            row.step(frames[(n + 37 * i) % len(frames)])
        count.round_ms.append(1000 * (time.perf_counter() - due_s))
