"""The protocol's audio formats, between base64 on the wire and float32 in a session."""

from __future__ import annotations

import binascii
from typing import Any

import numpy as np

from backtalk.audio import g711
from backtalk.audio.pcm import pcm_from_int16_bytes, pcm_to_int16_bytes
from backtalk.audio.resample import StreamingResampler
from backtalk.errors import ProtocolError

PCM_RATE = 24_000
PCM, ULAW, ALAW = "audio/pcm", "audio/pcmu", "audio/pcma"
_BYTES_PER_SAMPLE = {PCM: 2, ULAW: 1, ALAW: 1}


def sample_rate_of(kind: str) -> int:
    """Hz of a format."""
    return PCM_RATE if kind == PCM else g711.SAMPLE_RATE


def format_json(kind: str) -> dict[str, Any]:
    """The format as a session object names it."""
    return {"type": kind, "rate": PCM_RATE} if kind == PCM else {"type": kind}


class AudioIn:
    """The client's audio stream: base64 in, float32 at the session's rate out.

    Args:
        kind: `audio/pcm` (24 kHz, 16 bit, little endian), `audio/pcmu` or `audio/pcma` (8 kHz).
        sample_rate: Hz of what the session hears.
    """

    def __init__(self, kind: str, sample_rate: int) -> None:
        self._kind = kind
        self._resampler = StreamingResampler(sample_rate_of(kind), sample_rate)

    def decode(self, audio: Any, max_ms: float) -> tuple[np.ndarray, float]:
        """Take one piece.

        Args:
            audio: base64 text.
        Returns:
            float32 [T], and how long the piece is in ms.
        Raises:
            ProtocolError: not base64, not whole samples, or longer than `max_ms`.
        """
        if not isinstance(audio, str):
            raise ProtocolError("invalid_audio", "audio must be base64 text", "audio")
        try:
            data = binascii.a2b_base64(audio, strict_mode=bool(audio))
        except (binascii.Error, ValueError) as error:
            raise ProtocolError("invalid_audio", f"audio is not base64: {error}", "audio") from None
        width = _BYTES_PER_SAMPLE[self._kind]
        if len(data) % width:
            raise ProtocolError(
                "invalid_audio",
                f"{len(data)} bytes are not whole 16-bit samples; send an even number of bytes",
                "audio",
            )
        duration_ms = 1000.0 * len(data) / width / sample_rate_of(self._kind)
        if duration_ms > max_ms:
            raise ProtocolError(
                "audio_too_long",
                f"{duration_ms:.0f} ms of audio in one event; send at most {max_ms:.0f} ms",
                "audio",
            )
        return self._resampler.push(_decoded(self._kind, data)), duration_ms


class AudioOut:
    """A session's audio stream: float32 at its rate in, the client's bytes out.

    Args:
        sample_rate: Hz of what the session says.
        kind: as for `AudioIn`.
    """

    def __init__(self, sample_rate: int, kind: str) -> None:
        self._kind = kind
        self._resampler = StreamingResampler(sample_rate, sample_rate_of(kind))

    def encode(self, pcm: np.ndarray) -> bytes:
        """Take float32 [T] and return what is ready of it, in base64."""
        return binascii.b2a_base64(_encoded(self._kind, self._resampler.push(pcm)), newline=False)

    def flush(self) -> bytes:
        """The stream is over: what was held back, in base64."""
        return binascii.b2a_base64(_encoded(self._kind, self._resampler.flush()), newline=False)


def _decoded(kind: str, data: bytes) -> np.ndarray:
    if kind == PCM:
        return pcm_from_int16_bytes(data)
    return g711.decode_ulaw(data) if kind == ULAW else g711.decode_alaw(data)


def _encoded(kind: str, pcm: np.ndarray) -> bytes:
    if kind == PCM:
        return pcm_to_int16_bytes(pcm)
    return g711.encode_ulaw(pcm) if kind == ULAW else g711.encode_alaw(pcm)
