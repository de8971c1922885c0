"""LLVC as a frame-clocked system: sessions are rows, and each row is a call of its own.

Rows are not stacked into one call: the products take as long as the rows together, because one row
of 13 frames keeps a core's arithmetic busy already, and a row that sits out would be computed for
nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from backtalk.errors import ConfigError
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.graph import WeightFormat
from backtalk.llvc.random_voice import random_voice
from backtalk.llvc.row import LlvcRow
from backtalk.llvc.voice_file import Voice, find_voice, read_voice
from backtalk.models.store import ModelStore
from backtalk.session.frame_system import FrameSpec, StepOut


@dataclass(slots=True)
class LlvcRows:
    """State of `LlvcSystem`.

    Attributes:
        rows: one per slot.
        converted: float32 [slots, frame_size], what the last step gave.
    """

    rows: list[LlvcRow]
    converted: np.ndarray = field(repr=False)


class LlvcSystem:
    """A `Converter`: says what it hears in another voice."""

    def __init__(self, engine: LlvcEngine) -> None:
        self._engine = engine
        self.description = f"llvc {engine.voice.name}"
        self.spec = FrameSpec(
            "llvc", engine.sample_rate, engine.frame_size, engine.lookahead_samples
        )

    def alloc(self, slots: int) -> LlvcRows:
        """State for `slots` sessions."""
        rows = [self._engine.open_row() for _ in range(slots)]
        return LlvcRows(rows, np.zeros((slots, self.spec.frame_size), np.float32))

    def reset(self, state: LlvcRows, mask: np.ndarray) -> None:
        """Forget what the masked rows have heard."""
        for slot in mask.nonzero()[0]:
            state.rows[slot].reset()

    def step(self, state: LlvcRows, pcm: np.ndarray, active: np.ndarray) -> StepOut:
        """Convert the active rows' frames."""
        for slot in active.nonzero()[0]:
            state.converted[slot] = state.rows[slot].step(pcm[slot])
        return StepOut(state.converted)


def open_voice(
    store: ModelStore,
    voice: str | None = None,
    random_weights: int | None = None,
    *,
    bypass_prenet: bool = False,
    chunk_frames: int | None = None,
) -> Voice:
    """The voice that is asked for.

    Args:
        voice: see `find_voice`; `random-0` are the random weights of seed 0.
        random_weights: a seed instead of a voice.
        bypass_prenet: leave a pre-net out.
        chunk_frames: size of a chunk, one of those that the voice has learned.
    Raises:
        ConfigError: both a voice and a seed, or a size that it has not learned.
        ModelError: no such voice, or its file is not right.
    """
    if voice is not None and random_weights is not None:
        raise ConfigError("give either a voice or random weights, not both")
    if voice is not None and (named := re.fullmatch(r"random-(\d{1,9})", voice)):
        random_weights = int(named[1])
    if random_weights is not None:
        found = random_voice(random_weights)
    else:
        found = read_voice(find_voice(store, voice))
    found = found.without_prenet() if bypass_prenet else found
    return found if chunk_frames is None else found.in_chunks(chunk_frames)


def build_llvc(
    store: ModelStore,
    *,
    voice: str | None = None,
    random_weights: int | None = None,
    chunk_factor: int = 1,
    weights: WeightFormat = "float32",
    bypass_prenet: bool = False,
    chunk_frames: int | None = None,
) -> LlvcSystem:
    """The builder behind `--system llvc`.

    Args:
        store: whose folder `llvc` holds voices.
        voice, random_weights, bypass_prenet, chunk_frames: see `open_voice`.
        chunk_factor: chunks per step.
        weights: `float32` or `int8`.
    Raises:
        ConfigError: an option out of range.
        ModelError: no such voice, or its file is not right.
    """
    opened = open_voice(
        store, voice, random_weights, bypass_prenet=bypass_prenet, chunk_frames=chunk_frames
    )
    return LlvcSystem(LlvcEngine(opened, chunk_factor=chunk_factor, weight_format=weights))
