"""The teacher out of packages, with the real voices: two speakers in step."""

from __future__ import annotations

from itertools import islice
from random import Random

import numpy as np
import pytest

from backtalk.models.store import ModelStore
from backtalk.train.conversion.melody import track_pitch
from backtalk.train.conversion.spoken_teacher import SpokenTeacher
from backtalk.train.conversion.target_voice import TargetVoice, envelope, say, stretched
from backtalk.train.conversion.teacher import Pair, ShardPlan
from backtalk.train.conversion.texts import draw_text

PLAN = ShardPlan("train", 0, 1, 60.0, 3)
TEXT = "The small house beside the lake is green."


def loudness(pcm: np.ndarray) -> np.ndarray:
    """Of every 10 ms, in dB."""
    frames = pcm[: len(pcm) // 160 * 160].reshape(-1, 160)
    found: np.ndarray = 20 * np.log10(np.sqrt((frames**2).mean(1)) + 1e-3)
    return found


def later_by(pair: Pair) -> int:
    """Frames of 10 ms by which the input should be moved to be most alike, at most 8."""
    heard, said = loudness(pair.heard), loudness(pair.said)
    heard, said = heard - heard.mean(), said - said.mean()
    found = {at: float((np.roll(heard, -at) * said)[8:-8].sum()) for at in range(-8, 9)}
    return max(found, key=lambda at: found[at])


def test_a_text_of_one_split_is_in_no_other() -> None:
    learned = {draw_text(Random(n), "train") for n in range(300)}
    held_out = {draw_text(Random(n), "held-out") for n in range(300)}
    assert len(learned) > 200
    assert not learned & held_out


def test_an_envelope_keeps_the_harmonics_and_forgets_what_lies_between() -> None:
    spectrum = np.random.default_rng(0).normal(size=(601, 3)).astype(np.float32)
    joined = envelope(spectrum, np.array([200.0, 0.0, 400.0]))
    np.testing.assert_allclose(joined[10:500:10, 0], spectrum[10:500:10, 0], atol=1e-5)
    np.testing.assert_array_equal(joined[:, 1], spectrum[:, 1])
    assert joined[15, 0] == pytest.approx((spectrum[10, 0] + spectrum[20, 0]) / 2, abs=1e-5)


def test_a_stretched_spectrum_has_its_peaks_at_other_frequencies() -> None:
    spectrum = np.exp(-(((np.arange(601) - 200) / 10.0) ** 2))[:, None].astype(np.float32)
    assert stretched(spectrum, 1.2)[:, 0].argmax() == 240
    np.testing.assert_allclose(stretched(spectrum, 1.0), spectrum, atol=1e-6)


def test_a_sentence_is_said_at_any_pitch_in_the_same_time() -> None:
    sentence = TargetVoice().plan(TEXT, 1.0)
    voiced = sentence.pitch_hz > 0
    for factor in (0.5, 1.0):
        pcm = say(sentence, np.random.default_rng(0), sentence.pitch_hz * factor)
        assert len(pcm) == sentence.samples
        found = track_pitch(pcm, len(sentence.pitch_hz))
        both = voiced & (found > 0)
        cents = 1200 * np.log2(found[both] / sentence.pitch_hz[both] / factor)
        assert np.median(np.abs(cents)) < 60


@pytest.mark.models
def test_joe_and_other_bodies_speak_in_step_with_the_target() -> None:
    ModelStore.default().require("piper-joe")
    pairs = list(islice(SpokenTeacher().pairs(PLAN), 8))
    assert {pair.voice for pair in pairs} == {"joe", "body"}
    for pair in pairs:
        assert pair.heard.shape == pair.said.shape
        assert np.abs(pair.heard).max() == pytest.approx(0.6, rel=0.01)
    assert abs(np.median([later_by(pair) for pair in pairs if pair.voice == "joe"])) <= 2
    assert all(abs(later_by(pair)) <= 1 for pair in pairs if pair.voice == "body")


@pytest.mark.models
def test_the_same_plan_makes_the_same_pairs() -> None:
    ModelStore.default().require("piper-joe")
    first, second = (list(islice(SpokenTeacher().pairs(PLAN), 2)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.text, one.voice) == (other.text, other.voice)
        np.testing.assert_array_equal(one.said.shape, other.said.shape)
