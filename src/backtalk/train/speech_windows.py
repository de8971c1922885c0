"""Windows of speech for a step: random, and the same every time for the same step."""

from __future__ import annotations

import numpy as np

from backtalk.train.speech_store import Speech

_LOUDEST = 0.99


def draw_windows(
    speech: Speech, count: int, samples: int, gain_db: float, random: np.random.Generator
) -> np.ndarray:
    """Random windows, every second of speech as likely as any other, at random levels.

    Args:
        samples: of a window; a recording that is shorter lies somewhere in it, in silence.
        gain_db: levels are changed by up to this, up or down, but never into clipping.
    Returns:
        float32 [count, samples].
    """
    found = np.zeros((count, samples), np.float32)
    for window in found:
        at = int(random.integers(speech.starts[-1]))
        number = int(np.searchsorted(speech.starts, at, side="right")) - 1
        begin, end = speech.starts[number], speech.starts[number + 1]
        spare = int(end - begin) - samples
        if spare >= 0:
            first = int(begin) + int(random.integers(spare + 1))
            window[:] = _float(speech.pcm[first : first + samples])
        else:
            first = int(random.integers(-spare + 1))
            window[first : first + samples + spare] = _float(speech.pcm[begin:end])
        gain = 10 ** (random.uniform(-gain_db, gain_db) / 20)
        window *= min(gain, _LOUDEST / max(float(np.abs(window).max()), 1e-9))
    return found


def spread_windows(speech: Speech, count: int, samples: int) -> np.ndarray:
    """Windows evenly spread over all of it, across the seams of recordings: for scoring.

    Returns:
        float32 [count, samples]; fewer if there is less speech, but at least one.
    """
    total = len(speech.pcm)
    if total < samples:
        return np.pad(_float(speech.pcm[:]), (0, samples - total))[None]
    count = min(count, total // samples)
    firsts = np.linspace(0, total - samples, count).astype(np.int64)
    return np.stack([_float(speech.pcm[first : first + samples]) for first in firsts])


def _float(pcm: np.ndarray) -> np.ndarray:
    return pcm.astype(np.float32) / 32768.0
