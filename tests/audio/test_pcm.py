import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.audio.pcm import (
    check_sample_rate,
    pcm_from_int16_bytes,
    pcm_to_int16_bytes,
    sanitise,
    to_mono,
)
from backtalk.errors import AudioError


def test_every_int16_value_survives_the_round_trip():
    wire = np.arange(-32768, 32768).astype("<i2").tobytes()
    assert pcm_to_int16_bytes(pcm_from_int16_bytes(wire)) == wire


@given(st.binary(max_size=400))
def test_any_bytes_survive_the_round_trip_or_are_refused_for_being_odd(wire):
    if len(wire) % 2:
        with pytest.raises(AudioError, match=f"^{len(wire)} bytes .* even number"):
            pcm_from_int16_bytes(wire)
    else:
        pcm = pcm_from_int16_bytes(wire)
        assert pcm.dtype == np.float32
        assert pcm.shape == (len(wire) // 2,)
        assert pcm_to_int16_bytes(pcm) == wire


def test_int16_reads_as_little_endian_full_scale_minus_one():
    assert pcm_from_int16_bytes(b"\x00\x80\x00\x40\x01\x00").tolist() == [-1.0, 0.5, 1 / 32768]


def test_bytearrays_and_memoryviews_are_read_too():
    assert pcm_from_int16_bytes(bytearray(b"\x00\x40")).tolist() == [0.5]
    assert pcm_from_int16_bytes(memoryview(np.array([16384], "<i2"))).tolist() == [0.5]


def test_what_int16_cannot_hold_is_clipped_and_nan_is_silence():
    pcm = np.array([1.0, 2.0, -2.0, np.inf, -np.inf, np.nan, 3e38], np.float32)
    values = np.frombuffer(pcm_to_int16_bytes(pcm), "<i2").tolist()
    assert values == [32767, 32767, -32768, 32767, -32768, 0, 32767]


def test_stereo_is_written_interleaved():
    pcm = np.array([[0.5, -0.5], [0.25, 0.0]], np.float32)
    assert np.frombuffer(pcm_to_int16_bytes(pcm), "<i2").tolist() == [16384, -16384, 8192, 0]


def test_sanitise_silences_and_counts_what_is_not_finite():
    pcm = np.array([0.5, np.nan, np.inf, -np.inf, -3.0, 3.0], np.float32)
    clean, bad = sanitise(pcm)
    assert clean.tolist() == [0.5, 0.0, 0.0, 0.0, -1.0, 1.0]
    assert bad == 3
    assert np.isnan(pcm[1]), "the caller's array was changed"


def test_sanitise_makes_denormals_zero():
    clean, bad = sanitise(np.array([1e-40, -1e-45, 1e-30], np.float32))
    assert clean.tolist() == [0.0, 0.0, np.float32(1e-30)]
    assert bad == 0


def test_sanitise_takes_doubles_that_no_float32_can_hold():
    clean, bad = sanitise(np.array([1e300, 0.25]))
    assert clean.dtype == np.float32
    assert clean.tolist() == [0.0, 0.25]
    assert bad == 1


def test_mono_passes_and_stereo_is_averaged():
    mono = np.array([0.5, 1.0], np.float32)
    assert to_mono(mono) is mono
    mixed = to_mono(np.array([[1.0, 0.0], [0.5, -0.5]], np.float32))
    assert mixed.tolist() == [0.5, 0.0]
    assert mixed.dtype == np.float32


@pytest.mark.parametrize("shape", [(3, 0), (2, 2, 2), ()])
def test_what_has_no_channels_or_too_many_dimensions_is_refused(shape):
    with pytest.raises(AudioError, match=r"\[T, channels\]"):
        to_mono(np.zeros(shape, np.float32))


@pytest.mark.parametrize("rate", [0, -1, 3_999, 384_001, 16_000.5, True, "16000", None])
def test_a_number_that_is_no_sample_rate_is_refused(rate):
    with pytest.raises(AudioError, match="4000 to 384000"):
        check_sample_rate(rate)


def test_numpy_integers_are_sample_rates_too():
    assert check_sample_rate(np.int64(16_000)) == 16_000
