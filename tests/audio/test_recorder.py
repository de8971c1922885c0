import logging
import os

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.audio.recorder import ConversationRecorder
from backtalk.audio.resample import resample
from backtalk.errors import AudioError

RATE = 24_000


def level(seconds, value=0.5, sample_rate=RATE):
    return np.full(round(seconds * sample_rate), value, np.float32)


def tone(seconds, sample_rate=RATE, hz=300):
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def test_both_sides_lie_on_one_time_line_from_the_first_user_audio():
    recorder = ConversationRecorder(RATE)
    recorder.user(100.0, level(0.5, 0.1), RATE)
    recorder.agent(100.7, level(0.2, 0.2), RATE)
    user, agent = recorder.user_channel, recorder.agent_channel
    assert user.size == agent.size == round(0.9 * RATE)
    assert recorder.duration_s == pytest.approx(0.9)
    assert np.flatnonzero(user).tolist() == list(range(12_000))
    assert np.flatnonzero(agent).tolist() == list(range(16_800, 21_600))


def test_agent_audio_from_before_the_user_is_cut():
    recorder = ConversationRecorder(RATE)
    recorder.agent(9.0, level(0.5), RATE)
    recorder.agent(9.9, level(0.2, 0.25), RATE)
    assert recorder.began_s == 9.0
    recorder.user(10.0, level(1.0), RATE)
    assert recorder.began_s == 10.0
    agent = recorder.agent_channel
    assert agent.size == RATE
    assert np.flatnonzero(agent).tolist() == list(range(2_400))
    assert agent[0] == 0.25


def test_without_a_user_the_agent_sets_time_zero():
    recorder = ConversationRecorder(RATE)
    recorder.agent(50.0, level(0.1), RATE)
    assert recorder.agent_channel.size == recorder.user_channel.size == 2_400


def test_gaps_are_silence():
    recorder = ConversationRecorder(RATE)
    recorder.user(0.0, level(0.1), RATE)
    recorder.user(0.3, level(0.1), RATE)
    user = recorder.user_channel
    assert not user[2_400:7_200].any()
    assert user[7_200:].all()


def test_where_pieces_overlap_the_later_one_wins_and_levels_do_not_add_up():
    recorder = ConversationRecorder(RATE)
    recorder.user(0.0, level(1.0, 0.1), RATE)
    recorder.agent(0.0, level(0.5, 0.5), RATE)
    recorder.agent(0.3, level(0.5, 0.7), RATE)
    agent = recorder.agent_channel
    assert np.all(agent[:7_200] == np.float32(0.5))
    assert np.all(agent[7_200:19_200] == np.float32(0.7))
    assert not agent[19_200:].any()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=15), st.sampled_from([16_000, 22_050]))
def test_pieces_that_follow_each_other_join_without_a_seam(schedule, sample_rate):
    pcm = tone(1.0, sample_rate)[: sum(schedule)]
    recorder = ConversationRecorder(RATE)
    at = 0
    for size in schedule:
        recorder.user(7.0 + at / sample_rate, pcm[at : at + size], sample_rate)
        at += size
    whole = resample(pcm, sample_rate, RATE)
    heard = recorder.user_channel
    assert np.array_equal(heard[: whole.size], whole)
    assert heard.size - whole.size <= 1


def test_jitter_in_the_times_is_not_heard():
    pcm = tone(1.0, 16_000)
    jitter_s = np.random.default_rng(0).uniform(-0.004, 0.004, 50)
    recorder = ConversationRecorder(RATE)
    for i in range(50):
        start_s = 3.0 + 0.02 * i + (jitter_s[i] if i else 0.0)
        recorder.user(start_s, pcm[320 * i : 320 * (i + 1)], 16_000)
    assert np.array_equal(recorder.user_channel, resample(pcm, 16_000, RATE))


def test_a_lasting_drift_is_corrected_once_it_is_larger_than_jitter():
    recorder = ConversationRecorder(RATE)
    for i in range(100):
        recorder.user(i * 0.0202, level(0.02), RATE)
    assert recorder.duration_s == pytest.approx(99 * 0.0202 + 0.02, abs=0.006)


def test_after_a_barge_in_the_rest_of_the_reply_is_silence():
    recorder = ConversationRecorder(RATE)
    recorder.user(0.0, level(2.0, 0.1), RATE)
    for i in range(10):
        recorder.agent(0.5 + 0.1 * i, level(0.1, 0.5), RATE)
    recorder.truncate_agent(0.85)
    agent = recorder.agent_channel
    assert np.flatnonzero(agent).tolist() == list(range(12_000, 20_400))


def test_what_the_agent_says_after_a_barge_in_is_kept():
    recorder = ConversationRecorder(RATE)
    recorder.user(0.0, level(2.0, 0.1), RATE)
    recorder.agent(0.0, level(1.0, 0.5), RATE)
    recorder.truncate_agent(0.4)
    recorder.agent(0.4, level(0.1, 0.7), RATE)
    recorder.agent(1.5, level(0.1, 0.7), RATE)
    agent = recorder.agent_channel
    assert np.all(agent[9_600:12_000] == np.float32(0.7))
    assert not agent[12_000:36_000].any()
    assert agent[36_000:38_400].all()


def test_a_barge_in_before_any_reply_was_heard_leaves_nothing():
    recorder = ConversationRecorder(RATE)
    recorder.user(0.0, level(1.0), RATE)
    recorder.truncate_agent(0.1)
    recorder.agent(0.5, level(0.2), 16_000)
    recorder.truncate_agent(0.2)
    assert not recorder.agent_channel.any()


def test_the_file_has_the_user_left_and_the_agent_right(tmp_path):
    recorder = ConversationRecorder(RATE)
    recorder.user(5.0, tone(0.5, 16_000), 16_000)
    recorder.agent(5.3, tone(0.5, 22_050, 800), 22_050)
    recorder.write(tmp_path / "talk.wav")
    stereo, rate = soundfile.read(tmp_path / "talk.wav", dtype="float32")
    assert rate == RATE
    assert np.abs(stereo[:, 0] - recorder.user_channel).max() <= 1 / 32768
    assert np.abs(stereo[:, 1] - recorder.agent_channel).max() <= 1 / 32768


def test_recording_goes_on_after_a_write(tmp_path):
    recorder = ConversationRecorder(RATE)
    pcm = tone(1.0, 16_000)
    recorder.user(0.0, pcm[:8_001], 16_000)
    recorder.write(tmp_path / "half.wav")
    recorder.user(8_001 / 16_000, pcm[8_001:], 16_000)
    assert np.array_equal(recorder.user_channel, resample(pcm, 16_000, RATE))


def test_nothing_recorded_writes_no_file(tmp_path):
    recorder = ConversationRecorder()
    recorder.user(0.0, np.zeros(0, np.float32), RATE)
    assert recorder.began_s is None
    assert recorder.user_channel.size == 0
    with pytest.raises(AudioError, match="nothing was recorded"):
        recorder.write(tmp_path / "talk.wav")
    assert os.listdir(tmp_path) == []


def test_recording_stops_at_its_longest_with_one_warning(caplog):
    recorder = ConversationRecorder(RATE, max_s=1.0)
    with caplog.at_level(logging.WARNING):
        for i in range(20):
            recorder.user(10 + 0.1 * i, level(0.1), RATE)
        recorder.agent(1e9, level(1.0), RATE)
    assert recorder.duration_s == pytest.approx(1.0, abs=1e-3)
    assert recorder.dropped_s == pytest.approx(2.0, abs=1e-3)
    assert len(caplog.records) == 1


def test_a_user_heard_long_before_the_agent_does_not_make_the_recording_endless():
    recorder = ConversationRecorder(RATE, max_s=1.0)
    recorder.agent(1e9, level(1.0), RATE)
    recorder.user(0.0, level(0.5), RATE)
    assert recorder.agent_channel.size == RATE
    assert not recorder.agent_channel.any()


def test_the_callers_buffer_may_be_reused():
    recorder = ConversationRecorder(RATE)
    buffer = level(0.1)
    recorder.user(0.0, buffer, RATE)
    buffer[:] = 0.9
    assert np.all(recorder.user_channel == 0.5)


def test_what_is_no_number_is_recorded_as_silence():
    recorder = ConversationRecorder(RATE)
    recorder.user(0.0, np.array([np.nan, 0.5], np.float32), RATE)
    assert recorder.user_channel.tolist() == [0.0, 0.5]


@pytest.mark.parametrize("at_s", [float("nan"), float("inf")])
def test_a_time_that_is_no_number_is_refused(at_s):
    with pytest.raises(AudioError, match="session time"):
        ConversationRecorder().user(at_s, level(0.1), RATE)


def test_a_rate_that_is_no_sample_rate_is_refused():
    with pytest.raises(AudioError, match="sample rate"):
        ConversationRecorder().agent(0.0, level(0.1), 0)
