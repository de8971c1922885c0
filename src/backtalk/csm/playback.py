"""How much sound the listener has left, as far as the one who makes it can know."""

from __future__ import annotations

import time
from collections.abc import Callable

FRAME_MS = 80.0

CHUNK_FRAMES = (8, 4, 2, 1)
"""Sizes of a piece of sound: few, so that a recorded decoder needs few recordings."""


class PlaybackBuffer:
    """Sound handed out and not played yet.

    It is taken to be played from the moment it is handed out, without a pause.

    Args:
        clock_s: seconds that pass; other than the default for tests.
    """

    def __init__(self, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._clock_s = clock_s
        self._ends_s: float | None = None

    @property
    def left_ms(self) -> float:
        """Of sound, until the listener hears nothing."""
        if self._ends_s is None:
            return 0.0
        return max(0.0, 1000.0 * (self._ends_s - self._clock_s()))

    def add(self, audio_ms: float) -> None:
        """Sound was handed out: it is played behind what is still being played, or at once."""
        now_s = self._clock_s()
        begins_s = now_s if self._ends_s is None else max(now_s, self._ends_s)
        self._ends_s = begins_s + audio_ms / 1000.0

    def chunk_frames(self) -> int:
        """Frames of the next piece: as many as fit twice into what is left, at least one.

        Larger pieces cost less each, and a piece that takes longer than what is left is a gap.
        """
        fitting = self.left_ms / (2.0 * FRAME_MS)
        return next((size for size in CHUNK_FRAMES if size <= fitting), 1)
