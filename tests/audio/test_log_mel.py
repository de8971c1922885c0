"""Whisper's log-mel: the same numbers as another implementation, and no trouble on odd input."""

from __future__ import annotations

import numpy as np
import pytest

from backtalk.audio.log_mel import N_MELS, log_mel, mel_filters

# Made with faster-whisper 1.2.1, an independent implementation, from `chirp()` below:
#   from faster_whisper.feature_extractor import FeatureExtractor
#   FeatureExtractor()(chirp(), padding=0)[BANDS][:, FRAMES].round(5)
BANDS = [0, 5, 20, 40, 60, 79]
FRAMES = [0, 10, 50, 99]
GOLDEN = [
    [1.22929, -0.68245, -0.68245, -0.42881],
    [1.00956, -0.54972, -0.68245, -0.42845],
    [0.30442, 0.94818, -0.68245, -0.42276],
    [-0.02798, -0.68245, -0.68245, -0.39134],
    [-0.33824, -0.68245, -0.68245, -0.26832],
    [-0.51486, -0.68245, -0.68245, -0.04009],
]


def chirp() -> np.ndarray:
    """One second from 100 Hz to 6 kHz, float32 [16000]."""
    time_s = np.arange(16000) / 16000
    return (0.3 * np.sin(2 * np.pi * (100 * time_s + 2950 * time_s**2))).astype(np.float32)


def test_features_are_those_of_an_independent_implementation() -> None:
    features = log_mel(chirp())
    assert features.shape == (N_MELS, 100)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[BANDS][:, FRAMES], GOLDEN, atol=1e-4)


def test_every_filter_has_a_weight_and_unit_area() -> None:
    filters = mel_filters()
    assert filters.shape == (80, 201)
    assert (filters.max(axis=1) > 0).all()
    # A bin is 40 Hz wide; the upper filters are wide enough for the sum to be close to the area.
    np.testing.assert_allclose(filters[50:].sum(axis=1) * 40, 1.0, atol=0.03)


@pytest.mark.parametrize("samples", [0, 1, 159])
def test_less_than_a_hop_gives_no_frames(samples: int) -> None:
    assert log_mel(np.ones(samples, np.float32)).shape == (N_MELS, 0)


@pytest.mark.parametrize("samples", [160, 200, 201, 399])
def test_less_than_a_window_gives_finite_frames(samples: int) -> None:
    features = log_mel(chirp()[:samples])
    assert features.shape == (N_MELS, samples // 160)
    assert np.isfinite(features).all()


def test_samples_that_are_not_finite_count_as_silence() -> None:
    broken, silenced = chirp(), chirp()
    broken[1000:1003] = np.nan, np.inf, -np.inf
    silenced[1000:1003] = 0.0
    np.testing.assert_array_equal(log_mel(broken), log_mel(silenced))


def test_silence_has_one_value() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(1600, np.float32)), -1.5, atol=1e-5)
