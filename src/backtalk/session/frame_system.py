"""What a frame-clocked system is: so many samples in, so many out, step after step, in rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


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
        steps_on_loop: a step of all rows takes so little (well under a tenth of a millisecond)
            that a visit to a thread would cost more than the step.
    """

    name: str
    sample_rate: int
    frame_size: int
    lookahead_samples: int = 0
    max_lag_frames: int | None = 10
    steps_on_loop: bool = False

    @property
    def frame_ms(self) -> float:
        """How long a frame lasts, ms: what a step may take."""
        return 1000.0 * self.frame_size / self.sample_rate


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
