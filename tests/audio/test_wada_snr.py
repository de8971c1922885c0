"""WADA-SNR: right on what it assumes, and as fragile as it is said to be."""

from __future__ import annotations

import numpy as np
import pytest

from backtalk.audio.wada_snr import snr_curve, wada_snr_db

# The curve at every tenth dB from -20, computed independently of this code.
CURVE = {-20: 0.40943, 0: 0.46184, 10: 0.66735, 20: 0.95582, 30: 1.19406, 40: 1.35727, 60: 1.52997}


def speech_in_noise(snr_db: float, seconds: float = 60.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    size = round(16_000 * seconds)
    speech = rng.gamma(0.4, size=size) * rng.choice([-1.0, 1.0], size)
    noise = rng.standard_normal(size) * np.sqrt(0.56 / 10 ** (snr_db / 10))
    return (speech + noise).astype(np.float32)


@pytest.mark.parametrize("snr_db", CURVE)
def test_the_curve_is_that_of_the_model(snr_db: int) -> None:
    assert snr_curve()[snr_db + 20] == pytest.approx(CURVE[snr_db], abs=3e-4)


def test_the_curve_rises_all_the_way() -> None:
    assert (np.diff(snr_curve()) > 0).all()


@pytest.mark.parametrize("snr_db", [0, 5, 10, 15, 20, 30, 40])
def test_what_it_assumes_is_measured_right(snr_db: int) -> None:
    assert wada_snr_db(speech_in_noise(snr_db)) == pytest.approx(snr_db, abs=0.4)


def test_level_does_not_matter() -> None:
    pcm = speech_in_noise(15)
    assert wada_snr_db(pcm * 0.01) == pytest.approx(wada_snr_db(pcm), abs=0.01)


def test_a_few_exact_zeros_fool_it_and_dither_undoes_that() -> None:
    pcm = speech_in_noise(15)
    pcm /= np.abs(pcm).max()
    zeroed = {}
    for percent in (1, 2, 5):
        broken = pcm.copy()
        broken[np.random.default_rng(1).random(pcm.size) < percent / 100] = 0.0
        zeroed[percent] = broken
    assert wada_snr_db(zeroed[1]) == pytest.approx(21.2, abs=0.6)
    assert wada_snr_db(zeroed[2]) == pytest.approx(28.5, abs=1.0)
    assert wada_snr_db(zeroed[5]) == 100
    dither = np.random.default_rng(2).uniform(-1, 1, pcm.size) / 32768
    assert wada_snr_db(zeroed[2] + dither.astype(np.float32)) < 20


def test_silence_is_the_worst_there_is() -> None:
    assert wada_snr_db(np.zeros(100, np.float32)) == -20
    assert wada_snr_db(np.zeros(0, np.float32)) == -20
