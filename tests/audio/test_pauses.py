"""Where speech may be cut: in a pause, in the last of equal ones, and always within bounds."""

from __future__ import annotations

import numpy as np
import pytest

from backtalk.audio.pauses import quietest_moment

RATE = 16000


def speech_with_pauses(*pauses_s: tuple[float, float], seconds: float = 8.0) -> np.ndarray:
    pcm = 0.1 * np.random.default_rng(0).standard_normal(int(RATE * seconds))
    for start_s, end_s in pauses_s:
        pcm[int(RATE * start_s) : int(RATE * end_s)] *= 0.001
    return pcm.astype(np.float32)


def cut_s(pcm: np.ndarray, first_s: float = 3.0, last_s: float = 8.0) -> float:
    return quietest_moment(pcm, RATE, int(RATE * first_s), int(RATE * last_s)) / RATE


def test_the_cut_lies_inside_the_pause() -> None:
    assert 5.0 < cut_s(speech_with_pauses((5.0, 5.4))) < 5.4


def test_of_equal_pauses_it_is_the_last() -> None:
    assert 6.5 < cut_s(speech_with_pauses((4.0, 4.4), (6.5, 6.9))) < 6.9


def test_a_pause_out_of_bounds_is_not_used() -> None:
    assert 3.0 <= cut_s(speech_with_pauses((1.0, 2.0))) <= 8.0


def test_digital_silence_is_no_quieter_than_near_silence() -> None:
    pcm = speech_with_pauses((6.0, 6.5))
    pcm[int(RATE * 4.0) : int(RATE * 4.5)] = 0.0
    pcm[int(RATE * 6.0) : int(RATE * 6.5)] = 1e-6
    assert 6.0 < cut_s(pcm) < 6.5


@pytest.mark.parametrize("length_s", [0.005, 0.03, 0.2])
def test_a_range_shorter_than_a_pause_still_has_a_cut(length_s: float) -> None:
    pcm = speech_with_pauses()
    assert 3.0 <= cut_s(pcm, 3.0, 3.0 + length_s) <= 3.0 + length_s
