"""Where speech may be cut: the middle of its quietest moment."""

from __future__ import annotations

import numpy as np

_STEP_MS = 10
_SPAN_MS = 240
_NEARLY = 10 ** (3.0 / 10)  # 3 dB of power


def quietest_moment(pcm: np.ndarray, sample_rate: int, first: int, last: int) -> int:
    """The last of the quietest moments in a range.

    A moment is 240 ms long and counts as quiet as the quietest if it is within 3 dB, so that among
    equal pauses the last is chosen.

    Args:
        pcm: float32 [T].
        sample_rate: Hz.
        first: sample before which it must not lie.
        last: sample after which it must not lie, `first` < `last` <= T.
    Returns:
        The sample in the middle of it.
    """
    step = sample_rate * _STEP_MS // 1000
    steps = (last - first) // step
    if steps < 2:
        return first
    # Any power below -90 dBFS counts as the same silence, digital zero too.
    power = pcm[first : first + steps * step].reshape(steps, step).astype(np.float64) ** 2
    span = min(_SPAN_MS // _STEP_MS, steps)
    sums = np.cumsum(np.concatenate([[0.0], power.mean(axis=1)]))
    smooth = np.maximum((sums[span:] - sums[:-span]) / span, 1e-9)
    quiet = np.flatnonzero(smooth <= smooth.min() * _NEARLY)
    return first + (int(quiet[-1]) + span // 2) * step
