import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.audio.resample import StreamingResampler, resample
from backtalk.errors import AudioError
from backtalk.stream.check import check_schedules

RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000]


def noise(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def tone(hz, sample_rate, seconds=1.0, amplitude=0.5):
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def rms(pcm):
    return float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64))))


@pytest.mark.parametrize("rate_in", RATES)
@pytest.mark.parametrize("rate_out", RATES)
def test_any_chunk_schedule_gives_the_offline_samples(rate_in, rate_out):
    pcm = noise(3_000)
    check_schedules(
        lambda: StreamingResampler(rate_in, rate_out),
        pcm,
        offline=resample(pcm, rate_in, rate_out),
    )


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(48_000, 16_000), (22_050, 24_000), (8_000, 16_000), (44_100, 16_000)]),
    st.lists(st.integers(0, 900), max_size=12),
)
def test_a_random_chunk_schedule_gives_the_offline_samples(rates, schedule):
    pcm = noise(sum(schedule))
    check_schedules(
        lambda: StreamingResampler(*rates),
        pcm,
        offline=resample(pcm, *rates),
        schedules=[schedule or [0]],
    )


@pytest.mark.parametrize("rates", [(48_000, 16_000), (44_100, 16_000), (11_025, 24_000)])
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 100, 4_801, 11_025])
def test_the_output_is_as_long_as_the_ratio_says(rates, samples):
    expected = int(np.floor(samples * rates[1] / rates[0] + 0.5))
    assert resample(noise(samples), *rates).shape == (expected,)


def test_equal_rates_pass_every_sample_through_without_delay():
    pcm = noise(500)
    resampler = StreamingResampler(16_000, 16_000)
    assert np.array_equal(resampler.push(pcm), pcm)
    assert resampler.flush().size == 0
    assert resampler.delay_samples == 0


def test_a_tone_above_the_new_nyquist_frequency_does_not_alias():
    heard = resample(tone(10_000, 48_000), 48_000, 16_000)
    assert rms(heard[500:-500]) < 1e-5  # 90 dB below the tone


@pytest.mark.parametrize("rates", [(48_000, 16_000), (16_000, 24_000), (8_000, 16_000)])
@pytest.mark.parametrize("hz", [200, 1_000, 3_400])
def test_a_tone_of_speech_keeps_its_level_and_stays_in_place(rates, hz):
    heard = resample(tone(hz, rates[0]), *rates)
    wanted = tone(hz, rates[1])
    assert rms(heard[500:-500]) == pytest.approx(rms(wanted[500:-500]), rel=0.01)
    spectrum, reference = np.fft.rfft(heard), np.fft.rfft(wanted)
    shift_s = np.angle(reference[hz] / spectrum[hz]) / (2 * np.pi * hz)
    assert abs(shift_s) < 0.000_15


@pytest.mark.parametrize(
    ("rates", "most_ms"),
    [
        ((48_000, 16_000), 13),
        ((44_100, 16_000), 14),
        ((24_000, 16_000), 11),
        ((8_000, 16_000), 31),
        ((16_000, 24_000), 16),
        ((22_050, 24_000), 12),
        ((24_000, 48_000), 11),
    ],
)
def test_a_running_stream_is_never_more_than_its_stated_delay_behind(rates, most_ms):
    rate_in, rate_out = rates
    resampler = StreamingResampler(rate_in, rate_out)
    assert 1000 * resampler.delay_samples / rate_out <= most_ms
    came = 0
    block = np.zeros(rate_in // 50, np.float32)
    for blocks in range(1, 26):
        came += resampler.push(block).size
        assert blocks * block.size * rate_out / rate_in - came <= resampler.delay_samples + 2


def test_the_output_stays_within_full_scale():
    square = np.where(np.arange(4_000) % 16 < 8, 1.0, -1.0).astype(np.float32)
    assert np.abs(resample(square, 16_000, 24_000)).max() <= 1.0


def test_after_a_flush_a_new_stream_begins():
    resampler = StreamingResampler(48_000, 16_000)
    pcm = noise(2_000)
    runs = [np.concatenate([resampler.push(pcm), resampler.flush()]) for _ in range(2)]
    assert np.array_equal(runs[0], runs[1])


def test_two_streams_do_not_touch_each_other():
    left, right = StreamingResampler(48_000, 16_000), StreamingResampler(48_000, 16_000)
    pcm, other = noise(3_000, 1), noise(3_000, 2)
    pieces = []
    for at in range(0, 3_000, 300):
        pieces.append(left.push(pcm[at : at + 300]))
        right.push(other[at : at + 300])
    pieces.append(left.flush())
    assert np.array_equal(np.concatenate(pieces), resample(pcm, 48_000, 16_000))


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, 0), (16_000, 1_000_000)])
def test_a_rate_no_audio_has_is_refused(rates):
    with pytest.raises(AudioError, match="sample rate"):
        StreamingResampler(*rates)
