"""The user's audio by sample position: kept while it may belong to a turn, forgotten after."""

from __future__ import annotations

from collections import deque

import numpy as np


class TurnAudio:
    """A growing stretch of audio with a movable beginning.

    Attributes:
        end: position after the last sample, counted from the first ever appended.
    """

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, np.ndarray]] = deque()
        self.end = 0

    @property
    def start(self) -> int:
        """Position of the first sample that is still kept."""
        return self._pieces[0][0] if self._pieces else self.end

    def append(self, pcm: np.ndarray) -> None:
        """Add audio (float32 [T]) at the end."""
        if len(pcm):
            self._pieces.append((self.end, pcm))
            self.end += len(pcm)

    def forget_before(self, sample: int) -> None:
        """Drop pieces that lie wholly before `sample`."""
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= sample:
            self._pieces.popleft()

    def since(self, sample: int) -> np.ndarray:
        """All audio from `sample` on, as far as it is still kept: float32 [T]."""
        parts = [pcm[max(0, sample - at) :] for at, pcm in self._pieces if at + len(pcm) > sample]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
