"""Windows of pairs: the two sides stay together, and only the input is disguised."""

from __future__ import annotations

import numpy as np
import pytest

from backtalk.train.conversion.pair_files import open_pairs
from backtalk.train.conversion.pair_windows import (
    Disguise,
    PairWindows,
    equalised,
    with_formants,
    with_noise,
)
from train_llvc.tone_pairs import make_tones

PLAIN = Disguise(gain_db=0.0, formants=0.0, equaliser_db=0.0, noise_snr_db=40.0, share=0.0)
FULL = Disguise(gain_db=12.0, formants=0.2, equaliser_db=9.0, noise_snr_db=0.0, share=1.0)


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> PairWindows:
    return PairWindows(open_pairs(make_tones(tmp_path_factory.mktemp("pairs")), "train"))


def pulses(hz: float, resonance_hz: float) -> np.ndarray:
    """A buzz through one resonance: float32, one second."""
    impulse_s = np.arange(320) / 16_000
    ring = np.exp(-300 * impulse_s) * np.sin(2 * np.pi * resonance_hz * impulse_s)
    train = np.zeros(16_000)
    train[:: round(16_000 / hz)] = 0.3
    return np.convolve(train, ring)[:16_000].astype(np.float32)


def test_a_window_is_drawn_again_by_the_same_generator(windows: PairWindows) -> None:
    first, second = (windows.draw(3, 4000, FULL, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0][0], first[0][1])


def test_both_sides_are_of_one_moment(windows: PairWindows) -> None:
    heard, said = windows.draw(8, 4096, PLAIN, np.random.default_rng(0))
    for low, high in zip(heard, said, strict=True):
        bins = [int(np.abs(np.fft.rfft(side, 65536)).argmax()) for side in (low, high)]
        assert bins[1] == pytest.approx(2 * bins[0], rel=0.02)


def test_a_disguise_is_loud_enough_to_matter_and_never_clips(windows: PairWindows) -> None:
    plain = windows.draw(8, 4096, PLAIN, np.random.default_rng(0))
    full = windows.draw(8, 4096, FULL, np.random.default_rng(0))
    assert np.abs(full[0]).max() <= 1.0
    assert np.isfinite(full[0]).all()
    assert not np.allclose(full[0][0], plain[0][0], atol=0.01)


def test_an_utterance_shorter_than_a_window_is_followed_by_silence(windows: PairWindows) -> None:
    heard, said = windows.draw(2, 12_000, PLAIN, np.random.default_rng(0))
    assert not heard[:, 8000:].any()
    assert not said[:, 8000:].any()
    assert np.abs(said[:, :8000]).max() > 0.1


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_formants_move_and_the_pitch_stays(factor: float) -> None:
    before = pulses(100, 1200)
    after = with_formants(before, factor)
    spectra = [np.abs(np.fft.rfft(pcm)) for pcm in (before, after)]
    peaks = [int(s[500:3000].argmax()) + 500 for s in spectra]
    assert peaks[1] / peaks[0] == pytest.approx(factor, rel=0.1)
    assert peaks[1] % 100 == 0


def test_formants_left_where_they_are_change_nothing() -> None:
    pcm = pulses(120, 900)
    np.testing.assert_allclose(with_formants(pcm, 1.0), pcm, atol=1e-5)


def test_an_equaliser_lifts_its_bands() -> None:
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    made = np.abs(np.fft.rfft(equalised(noise, np.array([0.0, 0.0, 12.0])))) ** 2
    plain = np.abs(np.fft.rfft(noise)) ** 2
    assert 10 * np.log10(made[7900:].sum() / plain[7900:].sum()) == pytest.approx(12, abs=0.5)
    assert 10 * np.log10(made[:500].sum() / plain[:500].sum()) == pytest.approx(0, abs=0.5)


def test_noise_is_as_loud_as_asked_for() -> None:
    pcm = pulses(100, 1000)
    noise = with_noise(pcm, 10.0, np.random.default_rng(1)) - pcm
    assert 20 * np.log10(pcm.std() / noise.std()) == pytest.approx(10, abs=0.5)
