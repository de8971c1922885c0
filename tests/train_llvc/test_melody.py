"""Pitch is found, and moved by whole octaves only."""

from __future__ import annotations

import numpy as np
import pytest

from backtalk.train.conversion.melody import followed, octave_up, track_pitch
from train_llvc.tone_pairs import tone

FRAMES = 40


@pytest.mark.parametrize("hz", [75.0, 110.0, 190.0, 320.0])
def test_the_pitch_of_a_tone_is_found_to_a_quarter_of_a_semitone(hz: float) -> None:
    found = track_pitch(tone(hz, FRAMES * 0.0125), FRAMES)[2:-4]
    assert (np.abs(12 * np.log2(found / hz)) < 0.6).all()
    assert np.abs(12 * np.log2(np.median(found) / hz)) < 0.25


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    assert (track_pitch(0.1 * noise, FRAMES) > 0).mean() < 0.1
    assert not track_pitch(np.zeros(8000, np.float32), FRAMES).any()


@pytest.mark.parametrize(("hz", "factor"), [(90, 2.0), (130, 2.0), (150, 1.0), (250, 1.0)])
def test_a_low_voice_is_followed_an_octave_higher(hz: float, factor: float) -> None:
    assert octave_up(np.full(9, hz)) == factor


def test_the_target_follows_the_speaker_where_it_is_voiced() -> None:
    speaker = np.array([0, 100, 0, 0, 110, 120, 0], np.float32)
    sentence = np.array([0, 200, 200, 0, 200, 200, 200], np.float32)
    melody = followed(speaker, sentence)
    assert melody is not None
    np.testing.assert_array_equal(melody > 0, sentence > 0)
    np.testing.assert_allclose(melody[[1, 4, 5, 6]], [200, 220, 240, 240], rtol=1e-5)
    assert 200 < melody[2] < 220


def test_a_speaker_without_a_voice_cannot_be_followed() -> None:
    assert followed(np.zeros(7), np.full(7, 200.0)) is None
