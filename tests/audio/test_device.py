import asyncio
import builtins
import sys
import threading
import types

import numpy as np
import pytest

from backtalk.audio.device import Device, Microphone, Speaker, list_devices, rescan_devices
from backtalk.audio.resample import resample
from backtalk.errors import AudioError
from fake_portaudio import RATE, FakeSounddevice, PortAudioError

BLOCK = 320


@pytest.fixture
def fake(monkeypatch):
    module = FakeSounddevice()
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


def noise(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


async def heard_by(fake, pcm):
    """Bring `pcm` to the microphone from a thread of its own, as PortAudio does."""
    await asyncio.to_thread(fake.streams[-1].hear, pcm)
    await asyncio.sleep(0)


# The microphone.


async def test_the_microphone_yields_what_it_heard_block_by_block(fake):
    pcm = noise(3 * BLOCK)
    async with Microphone(RATE) as microphone:
        for at in range(0, pcm.size, BLOCK):
            await heard_by(fake, pcm[at : at + BLOCK])
        blocks = [await anext(microphone) for _ in range(3)]
    assert [block.shape for block in blocks] == [(BLOCK,)] * 3
    assert np.array_equal(np.concatenate(blocks), pcm)
    assert blocks[0].dtype == np.float32
    assert microphone.dropped_blocks == 0
    assert fake.streams[0].settings["samplerate"] == RATE
    assert fake.streams[0].settings["blocksize"] == BLOCK
    assert fake.streams[0].is_closed


async def test_the_microphone_keeps_no_reference_to_the_drivers_buffer(fake):
    buffer = noise(BLOCK)
    wanted = buffer.copy()
    async with Microphone(RATE) as microphone:
        await heard_by(fake, buffer)
        buffer[:] = 9.0
        assert np.array_equal(await anext(microphone), wanted)


async def test_a_reader_that_lags_loses_the_oldest_blocks_and_they_are_counted(fake):
    async with Microphone(RATE, max_queued_ms=60) as microphone:
        for i in range(5):
            await heard_by(fake, np.full(BLOCK, 0.1 * i, np.float32))
        assert microphone.dropped_blocks == 2
        assert (await anext(microphone))[0] == pytest.approx(0.2)


async def test_lost_audio_that_the_driver_reports_is_counted(fake):
    async with Microphone(RATE) as microphone:
        fake.streams[0].hear(noise(BLOCK), types.SimpleNamespace(input_overflow=True))
        fake.streams[0].hear(noise(BLOCK), types.SimpleNamespace(input_overflow=False))
        assert microphone.overflows == 1


async def test_a_microphone_that_cannot_run_at_the_rate_is_resampled(fake):
    pcm = noise(4_800 * 4)
    async with Microphone(24_000) as microphone:
        assert fake.streams[0].settings["samplerate"] == 48_000
        for at in range(0, pcm.size, 960):
            await heard_by(fake, pcm[at : at + 960])
        blocks = [await anext(microphone) for _ in range(18)]
    assert all(block.shape == (480,) for block in blocks)
    assert np.array_equal(np.concatenate(blocks), resample(pcm, 48_000, 24_000)[: 18 * 480])


async def test_a_microphone_that_stops_is_an_error_after_its_last_block(fake):
    async with Microphone(RATE) as microphone:
        await heard_by(fake, noise(BLOCK))
        await asyncio.to_thread(fake.streams[0].device_stops)
        assert (await anext(microphone)).size == BLOCK
        for _ in range(2):
            with pytest.raises(AudioError, match="the microphone stopped.*audio files instead"):
                await anext(microphone)


async def test_a_reader_that_waits_hears_at_once_that_the_microphone_stopped(fake):
    async with Microphone(RATE, stall_ms=1e9) as microphone:
        waiting = asyncio.create_task(anext(microphone))
        await asyncio.sleep(0)
        await asyncio.to_thread(fake.streams[0].device_stops)
        with pytest.raises(AudioError, match="stopped"):
            await waiting


async def test_a_microphone_that_sends_nothing_is_an_error(fake):
    async with Microphone(RATE, stall_ms=3_000) as microphone:
        with pytest.raises(AudioError, match="sent nothing for 3 s"):
            await anext(microphone)


async def test_a_microphone_says_how_late_its_blocks_are(fake):
    microphone = Microphone(RATE)
    assert microphone.latency_ms == 0.0
    async with microphone:
        assert microphone.latency_ms == 50.0
    async with Microphone(24_000) as microphone:
        assert 50.0 < microphone.latency_ms < 80.0


async def test_a_reader_that_is_cancelled_as_a_block_arrives_is_cancelled(fake):
    async with Microphone(RATE) as microphone:
        waiting = asyncio.create_task(anext(microphone))
        await asyncio.sleep(0)
        fake.streams[0].hear(noise(BLOCK))
        await asyncio.sleep(0)  # it is in the queue now, and the reader not yet awake
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_device_that_was_plugged_in_is_found_by_looking_again(fake):
    await asyncio.to_thread(rescan_devices)
    assert fake.rescans == 1


async def test_the_stream_of_blocks_ends_when_the_microphone_is_closed(fake):
    microphone = Microphone(RATE, max_queued_ms=20)
    async with microphone:
        await heard_by(fake, noise(BLOCK))
    assert [block.size async for block in microphone] == [BLOCK]
    assert [block async for block in microphone] == []


async def test_closing_wakes_up_a_reader_that_waits(fake):
    microphone = Microphone(RATE, stall_ms=1e9)
    async with microphone:
        waiting = asyncio.create_task(anext(microphone, None))
        await asyncio.sleep(0)
    assert await waiting is None


async def test_a_device_that_complains_while_closing_does_no_harm(fake, caplog):
    async with Microphone(RATE):
        fake.streams[0].close = lambda: (_ for _ in ()).throw(PortAudioError("gone"))
    assert "did not close: gone" in caplog.text


async def test_a_microphone_whose_opening_was_cancelled_is_closed_again(fake):
    fake.open_gate = threading.Event()
    opening = asyncio.create_task(Microphone(RATE).__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    fake.open_gate.set()
    while not (fake.streams and fake.streams[0].is_closed):
        await asyncio.to_thread(lambda: None)


async def test_late_audio_after_the_loop_is_gone_is_ignored(fake):
    stream = None

    async def open_and_leave():
        nonlocal stream
        async with Microphone(RATE):
            stream = fake.streams[-1]

    await asyncio.to_thread(asyncio.run, open_and_leave())
    stream.hear(noise(BLOCK))


# The loudspeaker.


async def test_the_loudspeaker_plays_what_it_was_given_and_then_silence(fake):
    pcm = noise(500)
    async with Speaker(RATE) as speaker:
        stream = fake.streams[0]
        speaker.play(pcm[:123])
        speaker.play(pcm[123:])
        assert speaker.queued_samples == 500
        heard = np.concatenate([stream.need(100) for _ in range(6)])
        assert np.array_equal(heard[:500], pcm)
        assert not heard[500:].any()
        assert speaker.played_samples == 500
        assert speaker.queued_samples == 0
    assert stream.is_closed


async def test_dropping_silences_the_loudspeaker_at_once_and_says_how_much_was_lost(fake):
    async with Speaker(RATE) as speaker:
        speaker.play(noise(1_000))
        fake.streams[0].need(300)
        assert speaker.drop() == 700
        assert not fake.streams[0].need(300).any()
        assert speaker.played_samples == 300
        assert speaker.drop() == 0
        assert speaker.underruns == 0


async def test_running_dry_in_a_reply_is_one_underrun_and_after_it_is_none(fake):
    async with Speaker(RATE) as speaker:
        stream = fake.streams[0]
        speaker.play(noise(100))
        for _ in range(5):
            stream.need(80)
        assert speaker.underruns == 1
        speaker.play(noise(100))
        speaker.end_of_reply()
        for _ in range(5):
            stream.need(80)
        assert speaker.underruns == 1
        assert speaker.played_samples == 200


async def test_a_callback_that_is_filled_exactly_is_no_underrun(fake):
    async with Speaker(RATE) as speaker:
        speaker.play(noise(80))
        fake.streams[0].need(80)
        assert speaker.underruns == 0


async def test_the_drivers_own_underflows_are_counted_apart(fake):
    async with Speaker(RATE) as speaker:
        fake.streams[0].need(10, types.SimpleNamespace(output_underflow=True))
        assert (speaker.device_underflows, speaker.underruns) == (1, 0)


async def test_a_loudspeaker_that_cannot_run_at_the_rate_is_resampled(fake):
    pcm = noise(2_400)
    async with Speaker(24_000) as speaker:
        assert fake.streams[0].settings["samplerate"] == 48_000
        for at in range(0, 2_400, 240):
            speaker.play(pcm[at : at + 240])
        speaker.end_of_reply()
        assert speaker.queued_samples == 2_400
        assert np.array_equal(fake.streams[0].need(4_800), resample(pcm, 24_000, 48_000))
        assert speaker.played_samples == 2_400
        speaker.play(pcm)
        assert speaker.queued_samples == 2_400
        fake.streams[0].need(960)
        assert speaker.drop() == 1_920
        assert (speaker.played_samples, speaker.queued_samples) == (2_880, 0)


async def test_what_the_resampler_still_holds_is_played_after_a_dry_spell(fake):
    pcm = noise(2_400)
    async with Speaker(24_000) as speaker:
        stream = fake.streams[0]
        speaker.play(pcm[:1_200])
        for _ in range(3):
            stream.need(2_400)
        assert speaker.underruns == 1
        assert speaker.queued_samples > 0
        speaker.play(pcm[1_200:])
        speaker.end_of_reply()
        stream.need(4_800)
        stream.need(10)
        assert (speaker.played_samples, speaker.queued_samples) == (2_400, 0)
        assert speaker.underruns == 1


async def test_noise_from_a_broken_reply_cannot_reach_the_loudspeaker(fake):
    async with Speaker(RATE) as speaker:
        speaker.play(np.array([np.nan, 5.0, -5.0], np.float32))
        assert fake.streams[0].need(3).tolist() == [0.0, 1.0, -1.0]


async def test_draining_waits_until_the_last_sample_is_in_the_air(fake):
    loop = asyncio.get_running_loop()
    async with Speaker(RATE) as speaker:
        speaker.play(noise(200))
        draining = asyncio.create_task(speaker.drain())
        await asyncio.sleep(1.0)
        assert not draining.done()
        fake.streams[0].need(200)
        played_s = loop.time()
        await draining
        assert loop.time() - played_s >= 0.05
        assert speaker.latency_ms == 50.0
        assert speaker.underruns == 0


async def test_a_loudspeaker_that_stops_is_an_error_for_who_plays_or_waits(fake):
    async with Speaker(RATE) as speaker:
        speaker.play(noise(200))
        draining = asyncio.create_task(speaker.drain())
        await asyncio.sleep(0)
        await asyncio.to_thread(fake.streams[0].device_stops)
        with pytest.raises(AudioError, match="the loudspeaker stopped"):
            await draining
        with pytest.raises(AudioError, match="the loudspeaker stopped"):
            speaker.play(noise(10))


async def test_a_loudspeaker_that_is_not_open_says_so(fake):
    with pytest.raises(AudioError, match="async with Speaker"):
        Speaker(RATE).play(noise(10))


# Nothing to open.


@pytest.mark.parametrize(("opens", "label"), [(Microphone, "microphone"), (Speaker, "loudspeaker")])
async def test_where_no_device_opens_the_error_says_what_to_do(fake, opens, label):
    fake.open_error = PortAudioError("Error querying device -1")
    with pytest.raises(AudioError) as caught:
        async with opens(RATE):
            pass
    message = str(caught.value)
    assert message.startswith(f"no {label} could be opened (Error querying device -1); plug one in")
    assert "audio files instead" in message


async def test_a_device_that_is_taken_is_closed_again(fake):
    fake.start_error = PortAudioError("Device unavailable")
    with pytest.raises(AudioError, match="Device unavailable"):
        async with Microphone(RATE):
            pass
    assert fake.streams[0].is_closed


async def test_an_unknown_device_is_named(fake):
    with pytest.raises(AudioError, match="microphone 'Nose' fails .*No input device matching"):
        async with Microphone(RATE, device="Nose"):
            pass


def test_a_missing_portaudio_library_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    real_import = builtins.__import__

    def import_without_portaudio(name, *args, **kwargs):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_without_portaudio)
    with pytest.raises(AudioError, match="apt install libportaudio2.*audio files instead"):
        list_devices()


async def test_a_missing_sounddevice_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match="pip install sounddevice"):
        async with Microphone(RATE):
            pass


@pytest.mark.parametrize("opens", [Microphone, Speaker])
def test_a_rate_that_is_no_sample_rate_is_refused_before_anything_opens(opens):
    with pytest.raises(AudioError, match="sample rate"):
        opens(0)


# Listing.


def test_devices_are_listed_with_their_driver_and_the_defaults(fake):
    assert list_devices() == [
        Device(0, "Mic", "ALSA", 2, 0, 48_000, is_default_input=True, is_default_output=False),
        Device(
            1, "Loudspeaker", "JACK", 0, 2, 48_000, is_default_input=False, is_default_output=True
        ),
    ]


def test_a_driver_that_fails_while_listing_is_an_error(fake):
    def fails():
        raise PortAudioError("Not initialized")

    fake.query_hostapis = fails
    with pytest.raises(AudioError, match="cannot be listed .Not initialized."):
        list_devices()
