"""Smart Turn: what it is shown of a turn, and that it tells an end from a middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backtalk.errors import ConfigError, ModelError
from backtalk.models.store import ModelStore
from backtalk.session.smart_turn import (
    WINDOW_SAMPLES,
    SmartTurn,
    build_smart_turn,
    features,
)


@pytest.fixture(scope="module")
def detector() -> SmartTurn:
    return build_smart_turn(ModelStore.default())


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    import soxr
    from hibari import Hibari

    pcm = Hibari(threads=1)("What is the best way to get to the station from here?", seed=1)
    return soxr.resample(pcm, 24000, 16000).astype(np.float32)


def with_silence(pcm: np.ndarray, seconds: float = 0.2) -> np.ndarray:
    return np.concatenate([pcm, np.zeros(int(16000 * seconds), np.float32)])


def test_the_end_of_the_turn_is_the_end_of_the_window() -> None:
    turn = np.zeros(3200, np.float32)
    turn[-1600:] = np.random.default_rng(0).standard_normal(1600)
    shown = features(turn)
    assert shown.shape == (80, 800)
    assert shown.dtype == np.float32
    assert shown[:, -8:].mean() > shown[:, :700].mean() + 0.5


def test_only_the_last_eight_seconds_are_heard() -> None:
    turn = np.random.default_rng(0).standard_normal(WINDOW_SAMPLES + 5000).astype(np.float32)
    np.testing.assert_array_equal(features(turn), features(turn[-WINDOW_SAMPLES:]))


def test_loudness_does_not_matter() -> None:
    turn = np.random.default_rng(0).standard_normal(20000).astype(np.float32)
    np.testing.assert_allclose(features(0.01 * turn), features(turn), atol=0.02)


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_a_turn_of_next_to_nothing_has_features(samples: int) -> None:
    assert np.isfinite(features(np.zeros(samples, np.float32))).all()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "smart-turn-v3.2-cpu.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="smart-turn"):
        SmartTurn(path)


def test_it_takes_no_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        build_smart_turn(ModelStore(tmp_path), threshold=0.5)


@pytest.mark.models
def test_a_finished_question_sounds_more_finished_than_its_middle(
    detector: SmartTurn, spoken: np.ndarray
) -> None:
    finished = detector.probability(with_silence(spoken))
    middle = detector.probability(with_silence(spoken[: len(spoken) // 2]))
    assert 0.0 <= middle <= 1.0
    assert finished > 0.5
    assert finished > middle


@pytest.mark.models
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_do_not_matter(
    detector: SmartTurn, spoken: np.ndarray, value: float
) -> None:
    broken, silenced = with_silence(spoken), with_silence(spoken)
    broken[100:200], silenced[100:200] = value, 0.0
    assert detector.probability(broken) == detector.probability(silenced)


@pytest.mark.models
def test_it_answers_on_nothing_and_on_a_minute(detector: SmartTurn) -> None:
    detector.warm_up()
    for samples in (0, 60 * 16000):
        assert 0.0 <= detector.probability(np.zeros(samples, np.float32)) <= 1.0
