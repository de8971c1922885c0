"""When a segment of speech is over: the model says so, or it should have.

CSM draws its end frame, all codes 0, unreliably: sometimes never. So a segment also ends after
silence, and at a length that no speaker would need for its text.
"""

from __future__ import annotations

import math

import numpy as np

from backtalk.audio.level import dbfs

FRAME_RATE = 12.5
WORD_S, CHARACTER_S, EXTRA_S = 0.6, 0.1, 1.0
"""The slowest speech that is believed: seconds per word or per character, whichever is longer."""

SILENCE_DBFS = -55.0
SILENT_S = 0.8


def frame_cap(text: str) -> int:
    """Frames that a text may take at most."""
    speech_s = max(WORD_S * len(text.split()), CHARACTER_S * len(text))
    return math.ceil((speech_s + EXTRA_S) * FRAME_RATE)


def is_end_frame(codes: list[int]) -> bool:
    """Whether a frame says that the speech is over.

    One code of 0 is a sound like any other, so a frame of one code never says it.
    """
    return len(codes) > 1 and not any(codes)


class SilenceStop:
    """Ends a segment whose speech has stopped though the model goes on.

    Args:
        sample_rate: of the sound, Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._limit = round(SILENT_S * sample_rate)
        self._silent_samples = 0
        self._has_spoken = False

    def hear(self, pcm: np.ndarray) -> bool:
        """Take float32 [T]; True once there was speech and then only silence."""
        if dbfs(pcm) > SILENCE_DBFS:
            self._has_spoken = True
            self._silent_samples = 0
        else:
            self._silent_samples += pcm.size
        return self._has_spoken and self._silent_samples >= self._limit
