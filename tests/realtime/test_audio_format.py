"""The protocol's audio formats: what is sent is heard, what is no audio is refused."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.audio.pcm import pcm_from_int16_bytes, pcm_to_int16_bytes
from backtalk.errors import ProtocolError
from backtalk.realtime.audio_format import (
    ALAW,
    PCM,
    ULAW,
    AudioIn,
    AudioOut,
    format_json,
    sample_rate_of,
)

TONE_HZ = 500


def tone(sample_rate: int, seconds: float = 1.0) -> np.ndarray:
    time_s = np.arange(round(sample_rate * seconds)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * TONE_HZ * time_s)).astype(np.float32)


def through(kind: str, pcm: np.ndarray, rate: int, pieces: int) -> tuple[np.ndarray, float]:
    """Out in one format and in again: what arrives, and how many ms it was said to be."""
    out, heard = AudioOut(rate, kind), AudioIn(kind, rate)
    wire = [out.encode(piece) for piece in np.array_split(pcm, pieces)] + [out.flush()]
    arrived = [heard.decode(text.decode(), 10_000) for text in wire]
    return np.concatenate([pcm for pcm, _ in arrived]), sum(ms for _, ms in arrived)


@pytest.mark.parametrize("kind", [PCM, ULAW, ALAW])
@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_a_tone_comes_through_every_format_at_its_pitch_and_level(kind: str, rate: int) -> None:
    arrived, duration_ms = through(kind, tone(rate), rate, pieces=7)
    assert duration_ms == pytest.approx(1000, abs=2)
    # Nobody tells a microphone's stream that it is over: the resampler keeps up to 30 ms.
    assert -0.002 <= 1 - len(arrived) / rate <= 0.031
    middle = arrived[len(arrived) // 4 : len(arrived) // 2]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * rate / len(middle) == pytest.approx(TONE_HZ, abs=5)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("kind", [PCM, ULAW, ALAW])
def test_it_does_not_matter_how_audio_is_cut_into_pieces(kind: str) -> None:
    whole, _ = through(kind, tone(16_000), 16_000, pieces=1)
    cut, _ = through(kind, tone(16_000), 16_000, pieces=50)
    size = min(len(whole), len(cut))
    np.testing.assert_allclose(cut[:size], whole[:size], atol=1e-4)


def test_pcm_at_the_sessions_own_rate_is_the_same_to_the_bit() -> None:
    data = np.random.default_rng(0).integers(-32768, 32768, 4800, np.int16).tobytes()
    pcm, duration_ms = AudioIn(PCM, 24_000).decode(base64.b64encode(data).decode(), 1000)
    assert duration_ms == 200
    np.testing.assert_array_equal(pcm, pcm_from_int16_bytes(data))
    assert base64.b64decode(AudioOut(24_000, PCM).encode(pcm)) == pcm_to_int16_bytes(pcm) == data


@given(st.binary(max_size=64))
def test_any_whole_samples_are_audio_and_half_ones_are_refused(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    if len(data) % 2:
        with pytest.raises(ProtocolError, match="whole 16-bit samples"):
            AudioIn(PCM, 24_000).decode(text, 1000)
    else:
        assert len(AudioIn(PCM, 24_000).decode(text, 1000)[0]) == len(data) // 2
    assert AudioIn(ULAW, 8000).decode(text, 1000)[1] == pytest.approx(len(data) / 8)


@given(st.text(max_size=40) | st.none() | st.integers() | st.binary(max_size=9))
def test_what_is_no_base64_is_refused(audio: Any) -> None:
    try:
        AudioIn(ULAW, 8000).decode(audio, 1000)
    except ProtocolError as error:
        assert error.param == "audio"  # noqa: PT017
    else:
        assert base64.b64encode(base64.b64decode(audio)) == audio.encode()


def test_audio_may_be_as_long_as_allowed_and_no_longer() -> None:
    second = base64.b64encode(bytes(48_000)).decode()
    assert AudioIn(PCM, 24_000).decode(second, 1000)[1] == 1000
    with pytest.raises(ProtocolError, match="at most 999 ms"):
        AudioIn(PCM, 24_000).decode(second, 999)


def test_formats_are_named_as_the_protocol_names_them() -> None:
    assert [format_json(kind) for kind in (PCM, ULAW, ALAW)] == [
        {"type": "audio/pcm", "rate": 24_000},
        {"type": "audio/pcmu"},
        {"type": "audio/pcma"},
    ]
    assert [sample_rate_of(kind) for kind in (PCM, ULAW, ALAW)] == [24_000, 8000, 8000]
