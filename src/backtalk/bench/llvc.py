"""What a step of LLVC costs, one stream on one thread, beside the authors' code in the same run.

Contestants take turns in blocks of steps, in an order that is reversed every round, so that a busy
moment of the machine hits all alike. They hear speech.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtalk.latency.percentiles import percentiles
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.graph import WeightFormat
from backtalk.llvc.voice_file import Voice
from backtalk.machine import rss_mib


@dataclass
class LlvcContestant:
    """One implementation with one running stream.

    Attributes:
        name: of the implementation.
        chunk_factor: chunks per step.
        frame_size: samples per step.
        lookahead_samples: input beyond a step that its output needs.
        step: float32 [frame_size] to its conversion.
        weights_mib: what loading it added to the process.
        stream_mib: what one more stream takes; None if not known.
        wall_ms, cpu_ms: every step that counted.
    """

    name: str
    chunk_factor: int
    frame_size: int
    lookahead_samples: int
    step: Callable[[np.ndarray], Any]
    weights_mib: float
    stream_mib: float | None = None
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def as_dict(self, sample_rate: int) -> dict[str, Any]:
        """Figures for JSON.

        `paper_e2e_ms` is the authors' formula: chunk, twice the lookahead and the mean step.
        `e2e_ms` counts the lookahead once, which is what the network waits for.
        """
        wall, cpu = percentiles(self.wall_ms), percentiles(self.cpu_ms)
        assert wall is not None
        assert cpu is not None
        chunk_ms = 1e3 * self.frame_size / sample_rate
        lookahead_ms = 1e3 * self.lookahead_samples / sample_rate
        mean_ms = sum(self.wall_ms) / len(self.wall_ms)
        return {
            "name": self.name,
            "chunk_factor": self.chunk_factor,
            "chunk_ms": round(chunk_ms, 3),
            "wall_ms": wall.as_dict(3),
            "cpu_ms": cpu.as_dict(3),
            "rtf": round(wall.p50 / chunk_ms, 4),
            "late_steps": sum(ms > chunk_ms for ms in self.wall_ms),
            "paper_e2e_ms": round(chunk_ms + 2 * lookahead_ms + mean_ms, 2),
            "e2e_ms": round(chunk_ms + lookahead_ms + wall.p50, 2),
            "weights_mib": round(self.weights_mib, 1),
            "stream_mib": None if self.stream_mib is None else round(self.stream_mib, 2),
        }


def our_contestant(voice: Voice, chunk_factor: int, weight_format: WeightFormat) -> LlvcContestant:
    """Our engine as a contestant."""
    before_mib = rss_mib()
    engine = LlvcEngine(voice, chunk_factor=chunk_factor, weight_format=weight_format)
    row = engine.open_row()
    return LlvcContestant(
        f"backtalk {weight_format}",
        chunk_factor,
        engine.frame_size,
        engine.lookahead_samples,
        row.step,
        rss_mib() - before_mib,
        row.nbytes / 2**20,
    )


def measure_llvc(
    contestants: Sequence[LlvcContestant],
    speech: np.ndarray,
    *,
    rounds: int = 4,
    block_s: float = 1.0,
    dropped_steps: int = 3,
    warm_up_steps: int = 20,
    told: Callable[[str], None] = lambda line: None,
) -> None:
    """Fill in every contestant's times.

    Args:
        contestants: who takes part.
        speech: float32 [T]; each goes on in it where its last turn ended, from the front again at
            its end.
        rounds: how often each has a turn.
        block_s: sound per turn, s.
        dropped_steps: of a turn, how many at its beginning do not count.
        warm_up_steps: before the first round.
        told: what goes on, in words.
    """
    sample_rate = 16_000
    at = [0] * len(contestants)

    def next_frame(i: int) -> np.ndarray:
        size = contestants[i].frame_size
        frame = np.take(speech, range(at[i], at[i] + size), mode="wrap")
        at[i] = (at[i] + size) % speech.size
        return frame

    for i, contestant in enumerate(contestants):
        told(f"warming up {contestant.name}, factor {contestant.chunk_factor}")
        for _ in range(warm_up_steps):
            contestant.step(next_frame(i))
    for turn in range(rounds):
        told(f"round {turn + 1} of {rounds}")
        order = range(len(contestants))
        for i in order if turn % 2 == 0 else reversed(order):
            contestant = contestants[i]
            steps = max(1, round(block_s * sample_rate / contestant.frame_size))
            for step in range(dropped_steps + steps):
                frame = next_frame(i)
                wall_s, cpu_s = time.perf_counter(), time.thread_time()
                contestant.step(frame)
                if step >= dropped_steps:
                    contestant.wall_ms.append(1e3 * (time.perf_counter() - wall_s))
                    contestant.cpu_ms.append(1e3 * (time.thread_time() - cpu_s))
