"""A click goes into a live session: when does what it changes come out?

The session runs twice over the same silence, once in real time with clicks and once offline
without; where the two differ, the click is heard. A sample is heard when its chunk is there and
the samples of the chunk ahead of it have been played.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtalk.bench.llvc_paced import run_paced
from backtalk.errors import ConfigError
from backtalk.latency.percentiles import percentiles
from backtalk.session.converter import Converter

EVERY_S = 0.7
"""More than the network remembers, so that no click meets the one before it."""


@dataclass(frozen=True, slots=True)
class ClickLatency:
    """Milliseconds of each click, from going in to coming out.

    Attributes:
        own_ms: until the output sample that belongs to the click.
        first_ms: until the first sample that it changes. A chunk's frames see each other, so that
            it may be heard a little ahead of its own sample.
        loudest_ms: until the sample that it changes most. For a trained voice that is the click;
            random weights smear it.
        dropped: chunks that were left out because the machine was too slow; then nothing is known
            of the clicks.
    """

    own_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    loudest_ms: list[float] = field(default_factory=list)
    dropped: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        figures = {"own": self.own_ms, "first": self.first_ms, "loudest": self.loudest_ms}
        found = {f"{name}_ms": percentiles(ms) for name, ms in figures.items()}
        return {
            **{name: None if ms is None else ms.as_dict(2) for name, ms in found.items()},
            "dropped_chunks": self.dropped,
        }


async def measure_clicks(converter: Converter, clicks: int, seed: int = 0) -> ClickLatency:
    """Click at places that are not the same in any two chunks, and listen.

    Raises:
        ConfigError: no clicks.
    """
    if clicks < 1:
        raise ConfigError(f"clicks must be at least 1, not {clicks}")
    spec = converter.spec
    random = np.random.default_rng(seed)
    every = round(EVERY_S * spec.sample_rate)
    at = [n * every + int(random.integers(spec.frame_size)) for n in range(1, clicks + 1)]
    total = -(-(clicks + 1) * every // spec.frame_size) * spec.frame_size
    sound = np.zeros(total, np.float32)
    sound[at] = 0.9
    run = await run_paced(converter, _frames(sound, spec.frame_size), keeps_sound=True)
    if run.dropped:
        return ClickLatency(dropped=run.dropped)
    heard, silent = np.concatenate(run.heard), _converted(converter, np.zeros_like(sound))
    changed = np.abs(heard - silent[: heard.size])
    figures: dict[str, list[float]] = {"own": [], "first": [], "loudest": []}
    for click in at:
        begin = click - spec.frame_size
        here = changed[begin : click + every - spec.frame_size]
        if not here.any():
            continue  # the voice does not answer to clicks
        found = {
            "own": click + spec.lookahead_samples,
            "first": begin + int(here.nonzero()[0][0]),
            "loudest": begin + int(here.argmax()),
        }
        for name, sample in found.items():
            chunk, ahead = divmod(sample, spec.frame_size)
            said_ms = 1000 * click / spec.sample_rate
            there_ms = (chunk + 1) * run.frame_ms + run.late_ms[chunk]
            figures[name].append(there_ms + 1000 * ahead / spec.sample_rate - said_ms)
    return ClickLatency(figures["own"], figures["first"], figures["loudest"])


def _converted(converter: Converter, pcm: np.ndarray) -> np.ndarray:
    row, one = converter.alloc(1), np.ones(1, bool)
    frames = pcm.reshape(-1, converter.spec.frame_size)
    return np.concatenate([converter.step(row, f[None], one).pcm[0].copy() for f in frames])


async def _frames(sound: np.ndarray, frame_size: int) -> AsyncIterator[np.ndarray]:
    for frame in sound.reshape(-1, frame_size):
        yield frame
