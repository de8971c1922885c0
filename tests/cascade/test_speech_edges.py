from __future__ import annotations

import numpy as np
import pytest

from backtalk.audio.level import first_audible_sample, last_audible_sample
from backtalk.cascade.speech_edges import fit_edges, pause_after_ms

RATE = 24_000


def tone(ms: int, amplitude: float = 0.3) -> np.ndarray:
    time_s = np.arange(ms * RATE // 1000) / RATE
    return (amplitude * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32)


def hush(ms: int) -> np.ndarray:
    """Not digital silence: what a synthesiser leaves there."""
    return np.full(ms * RATE // 1000, 1e-3, np.float32)


@pytest.mark.parametrize(
    ("text", "pause_ms"),
    [
        ("It rains.", 350),
        ("Really?!", 350),
        ('He said "stop."', 350),
        ("Well…", 350),
        ("First,", 180),
        ("(as you know),", 180),
        ("two things:", 180),
        ("one thing \u2014", 180),
        ("and then", 80),
        ("(mostly)", 80),
        ("", 80),
    ],
)
def test_the_pause_after_a_chunk_follows_its_punctuation(text: str, pause_ms: int) -> None:
    assert pause_after_ms(text) == pause_ms


def test_silence_before_is_removed_and_silence_after_is_shortened() -> None:
    pcm = np.concatenate([hush(300), tone(200), hush(400)])

    fitted = fit_edges(pcm, RATE, pause_ms=180)

    first, last = first_audible_sample(fitted, RATE), last_audible_sample(fitted, RATE)
    assert first is not None
    assert last is not None
    assert first == pytest.approx(0.010 * RATE, abs=0.002 * RATE)
    assert len(fitted) - last == pytest.approx(0.180 * RATE, abs=0.002 * RATE)
    assert fitted[-1] == 0.0
    assert abs(fitted[0]) < 1e-3


def test_silence_is_never_added() -> None:
    pcm = np.concatenate([tone(200), hush(50)])

    assert np.array_equal(fit_edges(pcm, RATE, pause_ms=350), pcm)


def test_the_input_is_left_as_it_was() -> None:
    pcm = np.concatenate([hush(300), tone(200), hush(400)])
    before = pcm.copy()

    fit_edges(pcm, RATE, pause_ms=80)

    assert np.array_equal(pcm, before)


@pytest.mark.parametrize("pcm", [np.zeros(0, np.float32), hush(500), np.zeros(5000, np.float32)])
def test_nothing_audible_gives_nothing(pcm: np.ndarray) -> None:
    assert fit_edges(pcm, RATE, pause_ms=350).size == 0
