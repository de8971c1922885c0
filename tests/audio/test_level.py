import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.audio.level import (
    AUDIBLE_DBFS,
    LeadingSilenceTrimmer,
    dbfs,
    first_audible_sample,
    last_audible_sample,
    trim_leading_silence,
)
from backtalk.stream.check import check_schedules

RATE = 16_000


def tone(samples, amplitude=0.3):
    return (amplitude * np.sin(2 * np.pi * 220 * np.arange(samples) / RATE)).astype(np.float32)


def silence(samples):
    return np.zeros(samples, np.float32)


def hiss(samples, level_dbfs, seed=0):
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (10 ** (level_dbfs / 20) * noise).astype(np.float32)


def test_the_level_of_known_signals():
    assert dbfs(np.ones(100, np.float32)) == pytest.approx(0.0)
    assert dbfs(tone(RATE, 1.0)) == pytest.approx(-3.01, abs=0.01)
    assert dbfs(np.full(10, 0.1, np.float32)) == pytest.approx(-20.0, abs=1e-4)


def test_silence_and_nothing_have_no_level():
    assert dbfs(silence(10)) == -math.inf
    assert dbfs(silence(0)) == -math.inf


@pytest.mark.parametrize("start", [0, 1, 79, 80, 1_234, 8_000])
def test_the_first_and_last_audible_sample_of_a_tone_are_found_within_a_millisecond(start):
    pcm = np.concatenate([silence(start), tone(4_000), silence(3_000)])
    assert first_audible_sample(pcm, RATE) == pytest.approx(start, abs=16)
    assert last_audible_sample(pcm, RATE) == pytest.approx(start + 3_999, abs=16)


@pytest.mark.parametrize("pcm", [silence(0), silence(1), silence(5_000), hiss(5_000, -55.0)])
def test_nothing_is_audible_in_silence_or_in_hiss_below_the_threshold(pcm):
    assert first_audible_sample(pcm, RATE) is None
    assert last_audible_sample(pcm, RATE) is None


def test_hiss_above_the_threshold_is_audible():
    assert first_audible_sample(hiss(5_000, -40.0), RATE) is not None


@pytest.mark.parametrize("at", [0, 79, 80, 100, 1_999, 4_000])
@pytest.mark.parametrize("length", [1, 2, 60])
def test_a_click_is_not_taken_for_sound(at, length):
    pcm = silence(5_000)
    pcm[at : at + length] = 1.0
    assert first_audible_sample(pcm, RATE) is None
    with_speech = np.concatenate([pcm, tone(4_000), silence(400), pcm])
    assert first_audible_sample(with_speech, RATE) == pytest.approx(5_000, abs=16)
    assert last_audible_sample(with_speech, RATE) == pytest.approx(8_999, abs=16)


def test_sound_of_exactly_the_threshold_is_audible():
    pcm = np.full(400, 10 ** (AUDIBLE_DBFS / 20), np.float32)
    pcm = np.nextafter(pcm, np.float32(1))
    assert first_audible_sample(pcm, RATE) == 0
    assert last_audible_sample(pcm, RATE) == 399


def test_the_threshold_can_be_chosen():
    pcm = np.concatenate([tone(1_600, 0.01), tone(1_600, 0.5)])
    assert first_audible_sample(pcm, RATE, threshold_dbfs=-20.0) == pytest.approx(1_600, abs=30)


def test_trimming_keeps_the_sound_and_the_silence_asked_for():
    pcm = np.concatenate([hiss(4_000, -60.0), tone(4_000)])
    first = first_audible_sample(pcm, RATE)
    trimmed = trim_leading_silence(pcm, RATE, keep_ms=10)
    assert trimmed.size == pcm.size - first + 160
    assert np.array_equal(trimmed[80:], pcm[first - 80 :])


def test_what_was_cut_is_faded_in():
    pcm = np.concatenate([hiss(4_000, -50.0), tone(4_000)])
    trimmed = trim_leading_silence(pcm, RATE)
    cut = pcm[pcm.size - trimmed.size :]
    assert trimmed[:80] == pytest.approx(cut[:80] * np.arange(1, 81) / 80, abs=1e-6)


def test_sound_that_begins_at_once_passes_untouched():
    pcm = tone(4_000)
    assert np.array_equal(trim_leading_silence(pcm, RATE), pcm)
    assert np.array_equal(
        trim_leading_silence(np.concatenate([silence(100), pcm]), RATE)[100:], pcm
    )


def test_of_pure_silence_nothing_is_left():
    assert trim_leading_silence(silence(9_000), RATE).size == 0
    assert trim_leading_silence(silence(0), RATE).size == 0


SIGNALS = {
    "silence then sound": np.concatenate([hiss(1_700, -60.0), tone(1_500)]),
    "sound at once": tone(2_000),
    "a click first": np.concatenate(
        [silence(500), np.ones(3, np.float32), silence(900), tone(900)]
    ),
    "silence only": hiss(2_500, -60.0),
    "a sound too short to count": np.concatenate([silence(1_000), tone(100)]),
    "a sound that just counts because of its last, short window": np.concatenate(
        [silence(1_040), tone(200)]
    ),
    "nothing": silence(0),
}


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("keep_ms", [0, 10, 60])
@pytest.mark.parametrize("max_ms", [math.inf, 50])
def test_any_chunk_schedule_trims_alike(name, keep_ms, max_ms):
    check_schedules(lambda: LeadingSilenceTrimmer(RATE, keep_ms, max_ms), SIGNALS[name])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2_000),
    st.integers(0, 600),
    st.lists(st.integers(0, 400), min_size=1, max_size=20),
    st.sampled_from([math.inf, 30.0, 100.0]),
)
def test_a_random_schedule_trims_alike_and_removes_a_prefix_only(lead, sound, schedule, max_ms):
    pcm = np.concatenate([hiss(lead, -60.0), tone(sound), silence(max(0, sum(schedule) - lead))])
    pcm = pcm[: sum(schedule)]
    trimmers = []

    def open_trimmer():
        trimmers.append(LeadingSilenceTrimmer(RATE, 10.0, max_ms))
        return trimmers[-1]

    check_schedules(open_trimmer, pcm, schedules=[schedule])
    assert trimmers[0].removed_samples == trimmers[1].removed_samples
    trimmed = trim_leading_silence(pcm, RATE)
    assert np.array_equal(trimmed[80:], pcm[pcm.size - trimmed.size + 80 :])


def test_a_stream_loses_no_more_than_the_most_it_may():
    pcm = np.concatenate([silence(8_000), tone(2_000)])
    trimmer = LeadingSilenceTrimmer(RATE, keep_ms=10, max_ms=100)
    heard = np.concatenate([trimmer.push(pcm), trimmer.flush()])
    assert trimmer.removed_samples == 1_600
    assert heard.size == pcm.size - 1_600


def test_a_long_silence_is_not_hoarded():
    trimmer = LeadingSilenceTrimmer(RATE)
    for _ in range(200):
        trimmer.push(silence(320))
        assert trimmer._held.size < 1_000
    heard = trimmer.push(tone(1_000))
    assert heard.size == pytest.approx(1_160, abs=16)


def test_once_open_chunks_pass_as_they_are():
    trimmer = LeadingSilenceTrimmer(RATE)
    trimmer.push(tone(1_000))
    chunk = silence(500)
    assert trimmer.push(chunk) is chunk
