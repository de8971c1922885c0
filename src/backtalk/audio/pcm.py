"""PCM in memory and on the wire: float32 mono in -1..1 here, int16 little endian out there."""

from __future__ import annotations

import numpy as np

from backtalk.errors import AudioError

MIN_SAMPLE_RATE = 4_000
MAX_SAMPLE_RATE = 384_000
"""Sample rates in Hz outside of which a number is taken for a mistake, not for audio."""

_INT16_SCALE = 32768.0
_SMALLEST_NORMAL = np.finfo(np.float32).tiny


def check_sample_rate(sample_rate: int) -> int:
    """Return the sample rate if it is one audio can have.

    Raises:
        AudioError: not a whole number of Hz between `MIN_SAMPLE_RATE` and `MAX_SAMPLE_RATE`.
    """
    is_whole = isinstance(sample_rate, (int, np.integer)) and not isinstance(sample_rate, bool)
    if not is_whole or not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"sample rate {sample_rate!r} Hz cannot be used; "
            f"give a whole number from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        )
    return int(sample_rate)


def is_within_full_scale(pcm: np.ndarray) -> bool:
    """Whether all samples are from -1 to 1, which no NaN is. Cheap: asked for every frame."""
    return not pcm.size or bool(np.abs(pcm).max() <= 1.0)


def pcm_from_int16_bytes(data: bytes | bytearray | memoryview) -> np.ndarray:
    """Read int16 little-endian mono samples.

    Args:
        data: two bytes per sample, any number of samples, zero included.
    Returns:
        float32 [T], -1..1. `pcm_to_int16_bytes` gives the same bytes back.
    Raises:
        AudioError: an odd number of bytes.
    """
    size_bytes = memoryview(data).nbytes
    if size_bytes % 2:
        raise AudioError(
            f"{size_bytes} bytes are not whole int16 samples; send an even number of bytes"
        )
    return np.frombuffer(data, dtype="<i2") * np.float32(1.0 / _INT16_SCALE)


def pcm_to_int16_bytes(pcm: np.ndarray) -> bytes:
    """Write samples as int16 little endian; what is too loud is clipped, NaN becomes silence.

    Args:
        pcm: float32 [T], or [T, channels], which comes out interleaved.
    """
    samples = np.asarray(pcm, dtype=np.float32)
    if not is_within_full_scale(samples):
        samples = np.clip(np.nan_to_num(samples, nan=0.0), -1.0, 1.0)
    scaled = samples * np.float32(_INT16_SCALE)
    np.rint(scaled, out=scaled)
    np.minimum(scaled, np.float32(_INT16_SCALE - 1), out=scaled)
    return scaled.astype("<i2").tobytes()


def sanitise(pcm: np.ndarray) -> tuple[np.ndarray, int]:
    """Make any numbers safe to process.

    NaN and infinity become silence, what is outside -1..1 is clipped, and denormals, which slow
    filters down a hundredfold, become zero.

    Args:
        pcm: [T] or [T, channels], any real dtype already scaled to -1..1.
    Returns:
        float32 of the same shape (a new array), and how many samples were not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        samples = np.array(pcm, dtype=np.float32)
    is_bad = ~np.isfinite(samples)
    samples[is_bad] = 0.0
    np.clip(samples, -1.0, 1.0, out=samples)
    samples[np.abs(samples) < _SMALLEST_NORMAL] = 0.0
    return samples, int(np.count_nonzero(is_bad))


def to_mono(pcm: np.ndarray) -> np.ndarray:
    """Average the channels.

    Args:
        pcm: float32 [T], returned as it is, or [T, channels].
    Returns:
        float32 [T].
    Raises:
        AudioError: no channels, or more than two dimensions.
    """
    if pcm.ndim == 1:
        return pcm
    if pcm.ndim != 2 or pcm.shape[1] == 0:
        raise AudioError(f"audio of shape {pcm.shape} is neither [T] nor [T, channels]")
    return pcm.mean(axis=1, dtype=np.float32)
