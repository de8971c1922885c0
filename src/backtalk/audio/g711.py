"""G.711, the telephone's audio: one byte a sample at 8 kHz, by tables (ITU-T G.711)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SAMPLE_RATE = 8000
_CODES = np.arange(256)


def decode_ulaw(data: bytes) -> np.ndarray:
    """mu-law bytes to float32 [T]."""
    return _ulaw_levels()[np.frombuffer(data, np.uint8)]


def encode_ulaw(pcm: np.ndarray) -> bytes:
    """float32 [T] to mu-law bytes: the nearest of its 256 levels."""
    return _encode(pcm, _ulaw_levels())


def decode_alaw(data: bytes) -> np.ndarray:
    """A-law bytes to float32 [T]."""
    return _alaw_levels()[np.frombuffer(data, np.uint8)]


def encode_alaw(pcm: np.ndarray) -> bytes:
    """float32 [T] to A-law bytes: the nearest of its 256 levels."""
    return _encode(pcm, _alaw_levels())


@lru_cache(1)
def _ulaw_levels() -> np.ndarray:
    """Level of each code: sign, exponent and mantissa, all bits inverted on the wire."""
    code = ~_CODES & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768.0).astype(np.float32)


@lru_cache(1)
def _alaw_levels() -> np.ndarray:
    """Level of each code: every second bit is inverted on the wire, a set sign bit is positive."""
    code = _CODES ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 0x0F
    small = (mantissa << 4) + 8
    large = ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0)
    magnitude = np.where(exponent == 0, small, large)
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768.0).astype(np.float32)


def _encode(pcm: np.ndarray, levels: np.ndarray) -> bytes:
    order = np.argsort(levels, kind="stable")
    middles = (levels[order][1:] + levels[order][:-1]) / 2
    return order[np.searchsorted(middles, pcm)].astype(np.uint8).tobytes()
