"""Pitch: found in a sound, and moved to where the target can follow it.

What a causal filter of fixed weights makes of a periodic sound has the same period, whatever the
filter: LLVC can keep a pitch or double it, and anything between comes out rough. (Its authors'
target lies an octave above a man's voice and level with a woman's.) So the target follows the
speaker's own melody, an octave higher where that is nearer to the target's range.
"""

from __future__ import annotations

import numpy as np

from backtalk.llvc.config import SAMPLE_RATE
from backtalk.train.conversion.target_voice import FRAME_S, PITCH_HZ, VOICED_FROM_HZ

_LOWEST_HZ, _HIGHEST_HZ = 60.0, 420.0
_WINDOW = 1024
_LEAST_PERIODICITY = 0.5
_LONG_LAG_COST, _JUMP_COST = 0.04, 0.35


def track_pitch(pcm: np.ndarray, frames: int) -> np.ndarray:
    """The pitch of every frame of 12.5 ms.

    Normalised autocorrelation, and the path through its peaks that jumps least.

    Args:
        pcm: float32 [T] at 16 kHz.
        frames: F wanted.
    Returns:
        float32 [F] in Hz; 0 where nothing is periodic.
    """
    lags = np.arange(int(SAMPLE_RATE / _HIGHEST_HZ), int(SAMPLE_RATE / _LOWEST_HZ))
    periodicity = _autocorrelation(pcm, frames)[:, lags]
    octaves = np.log2(lags / lags[0])
    jumps = _JUMP_COST * np.abs(octaves[:, None] - octaves)
    score = periodicity - _LONG_LAG_COST * octaves
    best = score[0]
    came_from = np.zeros(score.shape, np.int64)
    for frame in range(1, frames):
        total = best[:, None] - jumps
        came_from[frame] = total.argmax(0)
        best = total.max(0) + score[frame]
    path = np.zeros(frames, np.int64)
    path[-1] = best.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    voiced = periodicity[np.arange(frames), path] > _LEAST_PERIODICITY
    return np.where(voiced, SAMPLE_RATE / lags[path], 0.0).astype(np.float32)


def followed(pitch_hz: np.ndarray, sentence_hz: np.ndarray) -> np.ndarray | None:
    """The melody that a sentence gets from a speaker.

    Args:
        pitch_hz: float [F], the speaker's, 0 where unvoiced.
        sentence_hz: float [F], the sentence's own; it is voiced where that is.
    Returns:
        float32 [F]; None if the speaker is hardly ever voiced where the sentence is.
    """
    known = np.flatnonzero((pitch_hz > VOICED_FROM_HZ) & (sentence_hz > VOICED_FROM_HZ))
    voiced = sentence_hz > VOICED_FROM_HZ
    if len(known) < 0.5 * voiced.sum():
        return None
    logs = np.interp(np.arange(len(sentence_hz)), known, np.log(pitch_hz[known]))
    melody = np.exp(logs) * octave_up(pitch_hz)
    return np.where(voiced, melody, 0.0).astype(np.float32)


def octave_up(pitch_hz: np.ndarray) -> float:
    """What the target multiplies a speaker's pitch by: 1.0 or 2.0."""
    voiced = pitch_hz[pitch_hz > VOICED_FROM_HZ]
    mean = float(np.exp(np.log(voiced).mean())) if voiced.size else PITCH_HZ
    return 2.0 if mean < PITCH_HZ / np.sqrt(2) else 1.0


def _autocorrelation(pcm: np.ndarray, frames: int) -> np.ndarray:
    """Of a window around the middle of each frame, against itself later: float [F, window // 2]."""
    hop, half = round(FRAME_S * SAMPLE_RATE), _WINDOW // 2
    missing = frames * hop + _WINDOW - pcm.size
    padded = np.pad(pcm.astype(np.float64), (half - hop // 2, max(0, missing)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::hop][:frames]
    early = windows[:, :half]
    size = 2 * _WINDOW
    cross = np.fft.irfft(
        np.fft.rfft(windows, size) * np.conj(np.fft.rfft(early, size)), size, axis=1
    )[:, :half]
    power = np.cumsum(np.pad(windows**2, ((0, 0), (1, 0))), axis=1)
    late_power = power[:, half : 2 * half] - power[:, :half]
    found: np.ndarray = cross / np.sqrt(late_power[:, :1] * late_power + 1e-6)
    return found
