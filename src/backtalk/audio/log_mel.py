"""Whisper's log-mel spectrogram, in float32 numpy.

Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section
2.2, and the reference code `log_mel_spectrogram` of github.com/openai/whisper (`whisper/audio.py`,
MIT). Checked against faster-whisper's extractor, which is another implementation; see
`tests/audio/test_log_mel.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

SAMPLE_RATE = 16000
N_FFT_SAMPLES = 400
HOP_SAMPLES = 160
N_MELS = 80

_FLOOR = 1e-10
_RANGE_LOG10 = 8.0  # everything more than 80 dB below the loudest bin is clamped


def log_mel(pcm: np.ndarray) -> np.ndarray:
    """Log-mel features as Whisper and Smart Turn take them.

    The clamp is relative to the loudest bin of the whole signal, so features of a prefix are not
    a prefix of the features.

    Args:
        pcm: float32 [T] at 16 kHz; anything that is not finite counts as silence.
    Returns:
        float32 [80, T // 160], about -1..1.5; zero frames for fewer than 160 samples.
    """
    return scaled(log10_mel(pcm))


def scaled(log10_power: np.ndarray) -> np.ndarray:
    """Clamp to 80 dB below the loudest bin and bring to Whisper's range.

    Args:
        log10_power: float32 [80, N], from `log10_mel`.
    Returns:
        float32 [80, N].
    """
    if not log10_power.size:
        return log10_power
    clamped = np.maximum(log10_power, log10_power.max() - np.float32(_RANGE_LOG10))
    return (clamped + np.float32(4.0)) * np.float32(0.25)


def log10_mel(pcm: np.ndarray) -> np.ndarray:
    """Base-10 logarithm of the mel power, frame n centred on sample 160 n, before the clamp.

    Args:
        pcm: float32 [T] at 16 kHz.
    Returns:
        float32 [80, T // 160]; -10 is the floor.
    """
    from scipy.fft import rfft

    frames = len(pcm) // HOP_SAMPLES
    if not frames:
        return np.zeros((N_MELS, 0), np.float32)
    clean = np.nan_to_num(np.asarray(pcm, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    half = N_FFT_SAMPLES // 2
    padded = np.pad(clean, half, mode="reflect" if len(clean) > half else "symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT_SAMPLES)[::HOP_SAMPLES]
    spectrum = rfft(windows[:frames] * _hann(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    # Sparse, because each filter has few bins, and because a threaded BLAS waits for its other
    # threads here: on a busy 2-core machine that took 15 times as long as all the rest.
    mel = _sparse_filters() @ power.T
    return np.log10(np.maximum(mel, np.float32(_FLOOR)))


@cache
def mel_filters() -> np.ndarray:
    """Slaney's triangular mel filters, each of unit area.

    Returns:
        float32 [80, 201]: weight of each FFT bin (0 to 8 kHz) in each mel band.
    """
    bins_hz = np.linspace(0, SAMPLE_RATE / 2, N_FFT_SAMPLES // 2 + 1)
    edges_hz = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), N_MELS + 2))
    lower, centre, upper = (edges_hz[i : i + N_MELS, None] for i in range(3))
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (upper - lower)).astype(np.float32)


@cache
def _sparse_filters() -> Any:
    from scipy.sparse import csr_array

    return csr_array(mel_filters())


@cache
def _hann() -> np.ndarray:
    return np.hanning(N_FFT_SAMPLES + 1)[:-1].astype(np.float32)


# Slaney's scale: linear up to 1 kHz (mel 15), logarithmic above, 27 mels for each factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ_PER_MEL if hz < 1000.0 else 15.0 + float(np.log(hz / 1000.0)) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    logarithmic = 1000.0 * np.exp(_LOG_STEP * (np.maximum(mel, 15.0) - 15.0))
    return np.where(mel < 15.0, mel * _LINEAR_HZ_PER_MEL, logarithmic)
