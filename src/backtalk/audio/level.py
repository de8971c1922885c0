"""How loud sound is, and where it becomes audible.

Sound is judged in windows of 5 ms laid end to end from the first sample on. A window is loud if
its RMS level reaches the threshold; sound is audible where three loud windows follow each other.
A click shorter than 5 ms touches two windows at most, so it is not taken for speech.
"""

from __future__ import annotations

import math

import numpy as np

AUDIBLE_DBFS = -45.0
"""RMS level below which a reply is taken for silence."""

WINDOW_MS = 5
RUN_WINDOWS = 3
FADE_MS = 5.0


def dbfs(pcm: np.ndarray) -> float:
    """RMS level in dB relative to an RMS of 1 (a full-scale sine is -3.01 dBFS).

    Args:
        pcm: float32 [T].
    Returns:
        The level; -inf for digital silence and for no samples.
    """
    if pcm.size == 0:
        return -math.inf
    power = float(np.mean(np.square(pcm, dtype=np.float64)))
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf


def first_audible_sample(
    pcm: np.ndarray, sample_rate: int, threshold_dbfs: float = AUDIBLE_DBFS
) -> int | None:
    """Where the sound begins.

    Args:
        pcm: float32 [T] at `sample_rate`.
        threshold_dbfs: RMS level of the quietest audible window.
    Returns:
        Position of the first sample at or above the threshold in the first audible window; None
        if nothing is audible for about 15 ms.
    """
    starts = _audible_starts(pcm, sample_rate, threshold_dbfs)
    if starts.size == 0:
        return None
    window = _window_samples(sample_rate)
    at = int(starts[0]) * window
    return at + int(_loud_samples(pcm[at : at + window], threshold_dbfs)[0])


def last_audible_sample(
    pcm: np.ndarray, sample_rate: int, threshold_dbfs: float = AUDIBLE_DBFS
) -> int | None:
    """Where the sound ends: the mirror image of `first_audible_sample`.

    Returns:
        Position of the last sample at or above the threshold in the last audible window, or None.
    """
    starts = _audible_starts(pcm, sample_rate, threshold_dbfs)
    if starts.size == 0:
        return None
    window = _window_samples(sample_rate)
    at = (int(starts[-1]) + RUN_WINDOWS - 1) * window
    return at + int(_loud_samples(pcm[at : at + window], threshold_dbfs)[-1])


def trim_leading_silence(pcm: np.ndarray, sample_rate: int, keep_ms: float = 10.0) -> np.ndarray:
    """Remove the silence before the sound, but for its last `keep_ms`.

    Args:
        pcm: float32 [T] at `sample_rate`.
        keep_ms: silence to keep before the first audible sample.
    Returns:
        float32 [U], faded in over its first 5 ms if something was removed; [0] if nothing is
        audible.
    """
    trimmer = LeadingSilenceTrimmer(sample_rate, keep_ms=keep_ms)
    return np.concatenate([trimmer.push(pcm), trimmer.flush()])


class LeadingSilenceTrimmer:
    """Removes the silence before the sound from a stream of chunks.

    Any chunk schedule gives the same samples. Until the sound has been found, it holds back
    `keep_ms` and the 15 ms that decide; from then on chunks pass through untouched.

    Args:
        sample_rate: Hz of the stream.
        keep_ms: silence to keep before the first audible sample.
        max_ms: most silence to remove; a longer pause is taken to be meant.
        threshold_dbfs: see `first_audible_sample`.
    """

    def __init__(
        self,
        sample_rate: int,
        keep_ms: float = 10.0,
        max_ms: float = math.inf,
        threshold_dbfs: float = AUDIBLE_DBFS,
    ) -> None:
        self.sample_rate = sample_rate
        self.removed_samples = 0
        self._keep_samples = round(keep_ms * sample_rate / 1000)
        self._max_samples = max_ms if math.isinf(max_ms) else round(max_ms * sample_rate / 1000)
        self._threshold_dbfs = threshold_dbfs
        self._window = _window_samples(sample_rate)
        self._held: np.ndarray = np.zeros(0, np.float32)
        self._held_at = 0  # position of `_held` in the stream, a whole number of windows
        self._is_open = False
        self._fade: np.ndarray = np.zeros(0, np.float32)

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take the next chunk and return what may be heard.

        Args:
            pcm: float32 [T], T from 0.
        Returns:
            float32 [U], possibly empty.
        """
        if self._is_open:
            return self._fade_in(pcm)
        self._held = np.concatenate([self._held, pcm])
        whole = self._held.size // self._window * self._window
        first = first_audible_sample(self._held[:whole], self.sample_rate, self._threshold_dbfs)
        if first is not None:
            return self._open(self._held_at + first - self._keep_samples)
        undecided = max(0, whole - (RUN_WINDOWS - 1) * self._window)
        cut = max(0, self._held_at + undecided - self._keep_samples)
        if cut >= self._max_samples:
            return self._open(cut)
        needless = (cut - self._held_at) // self._window * self._window
        if needless > 0:
            self._held = self._held[needless:]
            self._held_at += needless
        return np.zeros(0, np.float32)

    def flush(self) -> np.ndarray:
        """The stream is over: return what is still held. The trimmer is spent."""
        if self._is_open:
            return np.zeros(0, np.float32)
        first = first_audible_sample(self._held, self.sample_rate, self._threshold_dbfs)
        end = self._held_at + self._held.size
        return self._open(end if first is None else self._held_at + first - self._keep_samples)

    def _open(self, cut: int) -> np.ndarray:
        """Remove everything before stream position `cut`, as far as allowed."""
        self.removed_samples = int(min(max(0, cut), self._max_samples))
        self._is_open = True
        if self.removed_samples > 0:
            fade_samples = round(FADE_MS * self.sample_rate / 1000)
            self._fade = np.arange(1, fade_samples + 1, dtype=np.float32) / fade_samples
        sound = self._held[self.removed_samples - self._held_at :]
        self._held = np.zeros(0, np.float32)
        return self._fade_in(sound)

    def _fade_in(self, pcm: np.ndarray) -> np.ndarray:
        if self._fade.size == 0 or pcm.size == 0:
            return pcm
        ramp, self._fade = self._fade[: pcm.size], self._fade[pcm.size :]
        faded = pcm.astype(np.float32)
        faded[: ramp.size] *= ramp
        return faded


def _window_samples(sample_rate: int) -> int:
    return max(1, round(sample_rate * WINDOW_MS / 1000))


def _amplitude(threshold_dbfs: float) -> float:
    return float(10.0 ** (threshold_dbfs / 20.0))


def _loud_samples(window: np.ndarray, threshold_dbfs: float) -> np.ndarray:
    """Positions in a loud window of samples at the threshold; rounding must not leave none."""
    amplitudes = np.abs(window)
    return np.flatnonzero(amplitudes >= min(_amplitude(threshold_dbfs), amplitudes.max()))


def _audible_starts(pcm: np.ndarray, sample_rate: int, threshold_dbfs: float) -> np.ndarray:
    """Numbers of the windows with which a run of `RUN_WINDOWS` loud ones begins."""
    window = _window_samples(sample_rate)
    whole = pcm.size // window
    power = np.square(pcm, dtype=np.float64)
    windows = power[: whole * window].reshape(whole, window).mean(axis=1)
    # The last window is as long as there is sound.
    rest = [power[whole * window :].mean()] if pcm.size > whole * window else []
    mean_power = np.concatenate([windows, rest])
    loud = mean_power >= _amplitude(threshold_dbfs) ** 2
    if loud.size < RUN_WINDOWS:
        return np.zeros(0, np.intp)
    return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(loud, RUN_WINDOWS).all(axis=1))
