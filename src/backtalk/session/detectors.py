"""What the turn-taking layer listens with: is somebody speaking, and have they finished?"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class VoiceActivityDetector(Protocol):
    """Probability of speech per frame. The state is a value: one per session, made by the caller.

    Attributes:
        sample_rate: Hz of the frames it takes.
        frame_size: samples per frame.
    """

    sample_rate: int
    frame_size: int

    def new_state(self) -> Any:
        """A state that has heard nothing."""
        ...

    def step(self, state: Any, frame: np.ndarray) -> tuple[float, Any]:
        """Hear one frame.

        Args:
            state: what `new_state` or the last `step` gave; it is not changed.
            frame: float32 [frame_size], -1..1.
        Returns:
            The probability of speech in the frame, and the next state.
        """
        ...


class TurnDetector(Protocol):
    """Probability that a turn is complete, judged from its sound. Stateless.

    Called on a worker thread.
    """

    sample_rate: int

    def probability(self, pcm: np.ndarray) -> float:
        """How likely the speaker has finished.

        Args:
            pcm: float32 [T] at `sample_rate`, the turn so far with its trailing silence.
        """
        ...

    def warm_up(self) -> None:
        """Run once on made-up input."""
        ...
