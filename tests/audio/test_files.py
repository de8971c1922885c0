import errno
import logging
import os
import resource
import signal
import stat
import struct
import sys
import wave

import numpy as np
import pytest
import soundfile

from backtalk.audio.files import read_audio, write_wav
from backtalk.audio.resample import resample
from backtalk.errors import AudioError

RATE = 16_000


def tone(seconds=0.5, sample_rate=RATE, hz=440):
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def wav_bytes(
    tag=1,
    channels=1,
    rate=RATE,
    bits=16,
    data=b"\x00\x10" * 1600,
    data_size=None,
    riff_size=None,
    block_align=None,
    format_extra=b"",
):
    """A WAV file whose header may say anything."""
    align = (channels * bits // 8 if block_align is None else block_align) & 0xFFFF
    byte_rate = rate * align & 0xFFFFFFFF
    header = struct.pack("<HHIIHH", tag, channels, rate, byte_rate, align, bits) + format_extra
    size = len(data) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", len(header)) + header
    body += b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def encoded(tmp_path, kind, subtype=None, seconds=2.0):
    path = tmp_path / "whole"
    soundfile.write(path, tone(seconds), RATE, format=kind, subtype=subtype)
    return path.read_bytes()


def flac_with_total(data, total_samples):
    """Overwrite the total sample count of a FLAC file's STREAMINFO (36 bits from byte 21)."""
    changed = bytearray(data)
    changed[21] = (changed[21] & 0xF0) | (total_samples >> 32)
    changed[22:26] = struct.pack(">I", total_samples & 0xFFFFFFFF)
    return bytes(changed)


def message_of(path, **options):
    """The refusal of a file: one line that names it and says what to do."""
    with pytest.raises(AudioError) as caught:
        read_audio(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    assert os.path.basename(path) in message
    assert ";" in message, "no advice"
    return message


@pytest.fixture
def crafted(tmp_path):
    def write(data, name="crafted.wav"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


# Reading what is good.


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_any_usual_rate_is_read_at_its_own_rate_or_resampled(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(0.2, rate), rate)
    audio = read_audio(tmp_path / "a.wav")
    assert audio.sample_rate == rate
    assert audio.duration_s == pytest.approx(0.2)
    resampled = read_audio(tmp_path / "a.wav", sample_rate=24_000)
    assert resampled.sample_rate == 24_000
    assert resampled.pcm.shape == (4_800,)
    assert np.array_equal(resampled.pcm, resample(audio.pcm, rate, 24_000))


def test_16_bit_samples_come_back_exactly(tmp_path):
    values = np.arange(-32768, 32768, 3)
    soundfile.write(tmp_path / "a.wav", (values / 32768).astype(np.float64), RATE, "PCM_16")
    pcm = read_audio(tmp_path / "a.wav").pcm
    assert pcm.dtype == np.float32
    assert (pcm * 32768).tolist() == values.tolist()


def test_a_24_bit_file_keeps_its_fine_steps(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([1e-5, 0.5, -0.25]), RATE, "PCM_24")
    assert read_audio(tmp_path / "a.wav").pcm == pytest.approx([1e-5, 0.5, -0.25], abs=2e-7)


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([[0.5, 0.0], [0.5, -0.5]]), RATE)
    assert read_audio(tmp_path / "a.wav").pcm == pytest.approx([0.25, 0.0], abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None)],
)
def test_what_a_file_holds_decides_not_its_name(tmp_path, crafted, capfd, kind, subtype):
    path = crafted(encoded(tmp_path, kind, subtype), "named.wav")
    audio = read_audio(path)
    assert audio.duration_s == pytest.approx(2.0, abs=0.05)
    assert np.sqrt(np.mean(audio.pcm**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "name", ["named.raw", "named.txt", "no_suffix", "umläut \N{GRINNING FACE}"]
)
def test_a_wav_file_of_any_name_is_read(crafted, name):
    assert read_audio(crafted(wav_bytes(), name)).duration_s == pytest.approx(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_a_file_name_that_is_not_utf8_is_read(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.wav"
    with open(path, "wb") as file:
        file.write(wav_bytes())
    assert read_audio(os.fsdecode(path)).duration_s == pytest.approx(0.1)


def test_nan_and_infinity_become_counted_silence(tmp_path, caplog):
    pcm = tone()
    pcm[[3, 5, 7]] = [np.nan, np.inf, -np.inf]
    soundfile.write(tmp_path / "a.wav", pcm, RATE, "FLOAT")
    with caplog.at_level(logging.WARNING):
        audio = read_audio(tmp_path / "a.wav", sample_rate=24_000)
    assert audio.bad_samples == 3
    assert np.isfinite(audio.pcm).all()
    assert "3 samples were not numbers" in caplog.text


def test_a_float_file_louder_than_full_scale_is_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([3.0, -3.0, 0.5], np.float32), RATE, "FLOAT")
    assert read_audio(tmp_path / "a.wav").pcm.tolist() == [1.0, -1.0, 0.5]


# Headers that do not tell the truth.


@pytest.mark.parametrize(
    "data",
    [
        wav_bytes(data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF),
        wav_bytes(data_size=6_400),
        wav_bytes(data_size=16_000 * 2 * 36_000),
        wav_bytes(riff_size=0),
        wav_bytes(data=b"\x00\x10" * 1600 + b"\x01"),
    ],
    ids=["piped", "twice its size", "claims ten hours", "RIFF size 0", "half a sample too much"],
)
def test_a_wav_file_that_ends_early_is_read_as_far_as_it_goes(crafted, data):
    audio = read_audio(crafted(data))
    assert audio.pcm.shape == (1_600,)
    assert np.all(audio.pcm == 0.125)


@pytest.mark.parametrize(
    "data",
    [
        wav_bytes(channels=0),
        wav_bytes(channels=65_535),
        wav_bytes(channels=65_535, block_align=2),
        wav_bytes(channels=1_025, data=b"\0" * 4_100),
        wav_bytes(bits=0),
        wav_bytes(bits=0, block_align=2),
        wav_bytes(bits=64),
        wav_bytes(tag=2, bits=4, block_align=256),
        wav_bytes(tag=0x11, bits=4, block_align=0),
        wav_bytes(tag=0x11, bits=4, block_align=256, format_extra=struct.pack("<HH", 2, 0)),
        wav_bytes(tag=0x31, bits=0, block_align=65),
        wav_bytes(tag=0x55, bits=0, block_align=1),
        wav_bytes(tag=0x999),
        wav_bytes(tag=0xFFFE),
        wav_bytes(rate=0),
        wav_bytes(rate=0xFFFFFFFF),
        wav_bytes()[:30],
        wav_bytes()[:36],
        b"RIFF\x10\0\0\0WAVEdata\x04\0\0\0\0\0\0\0",
        b"fLaC" + bytes(1_000),
        b"OggS" + bytes(1_000),
        b"FORM\0\0\x10\0AIFF" + bytes(1_000),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_as_damaged(crafted, data):
    assert "is damaged, cut short or of an unknown encoding (" in message_of(crafted(data))


@pytest.mark.parametrize("bits", [7, 12])
def test_odd_bit_depths_are_read_in_the_bytes_that_hold_them(crafted, bits):
    audio = read_audio(crafted(wav_bytes(bits=bits, block_align=(bits + 7) // 8)))
    assert np.abs(audio.pcm).max() <= 1.0


@pytest.mark.parametrize("rate", [1, 3_999, 384_001, 0x7FFFFFFF])
def test_a_sample_rate_no_audio_has_is_refused(crafted, rate):
    assert f"sample rate is {rate} Hz" in message_of(crafted(wav_bytes(rate=rate)))


def test_more_channels_than_any_recorder_makes_are_refused(crafted):
    data = wav_bytes(channels=100, data=bytes(2 * 100 * 50))
    assert "has 100 channels" in message_of(crafted(data))


# What is not sound.


def test_a_missing_file_is_refused(tmp_path):
    assert "no such file" in message_of(tmp_path / "nowhere.wav")


def test_a_directory_is_refused(tmp_path):
    assert "is a directory" in message_of(tmp_path)


def test_an_empty_file_is_refused(crafted):
    assert "0 bytes" in message_of(crafted(b""))


def test_a_name_with_a_zero_byte_is_refused():
    with pytest.raises(AudioError, match="cannot be read"):
        read_audio("a\0b.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert "not a regular file" in message_of(tmp_path / "pipe.wav")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_one_may_not_read_is_refused(crafted):
    path = crafted(wav_bytes())
    path.chmod(0)
    assert "cannot be read" in message_of(path)


@pytest.mark.parametrize("data", [wav_bytes(data=b""), wav_bytes()[:44]], ids=["none", "header"])
def test_a_wav_file_without_samples_is_refused(crafted, data):
    assert "0 samples" in message_of(crafted(data))


@pytest.mark.parametrize(
    "data",
    [
        b"hello world\n" * 1_000,
        b"<!doctype html><html>" * 50,
        bytes(5_000),
        b"x",
        b"RIFF",
        b"\x89PNG\r\n\x1a\n" + bytes(3_000),
        b"\0\0\0\x20ftypisom" + bytes(3_000),
        np.random.default_rng(0).bytes(20_000),
    ],
    ids=["text", "html", "zeros", "one byte", "four bytes", "png", "mp4", "noise"],
)
def test_what_is_not_audio_is_said_not_to_be(crafted, data):
    assert "is not an audio file" in message_of(crafted(data))


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_a_compressed_file_cut_short_is_refused(tmp_path, crafted, kind, kept):
    whole = encoded(tmp_path, kind)
    assert "cut short" in message_of(crafted(whole[: int(kept * len(whole))]))


def test_a_flac_file_damaged_half_way_says_where(tmp_path, crafted):
    whole = bytearray(encoded(tmp_path, "FLAC", seconds=5.0))
    middle = len(whole) // 2
    whole[middle : middle + 400] = bytes(400)
    message = message_of(crafted(bytes(whole)))
    assert "damaged" in message


def test_a_flac_file_of_unstated_length_is_read(tmp_path, crafted):
    whole = encoded(tmp_path, "FLAC")
    assert read_audio(crafted(flac_with_total(whole, 0))).pcm.shape == (2 * RATE,)


# Too long.


def test_a_ten_hour_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "meeting.wav"
    data_size = 10 * 3_600 * RATE * 2
    path.write_bytes(wav_bytes(data=b"", data_size=data_size, riff_size=data_size + 36))
    os.truncate(path, 44 + data_size)  # a sparse file: it takes no space
    message = message_of(path)
    assert "36000.00 s" in message
    assert "600 s allowed" in message


def test_the_longest_recording_allowed_is_read_and_one_sample_more_is_not(crafted):
    path = crafted(wav_bytes())
    assert read_audio(path, max_seconds=0.1).pcm.size == 1_600
    assert "0.10 s" in message_of(path, max_seconds=1_599 / RATE)


def test_a_file_that_hides_its_length_is_stopped_while_reading(tmp_path, crafted):
    path = crafted(flac_with_total(encoded(tmp_path, "FLAC", seconds=4.0), 0))
    assert "at least" in message_of(path, max_seconds=1.0)


def test_a_target_rate_no_audio_has_is_refused(crafted):
    with pytest.raises(AudioError, match="sample rate 5 Hz"):
        read_audio(crafted(wav_bytes()), sample_rate=5)


# Writing.


def test_what_is_written_is_read_back_to_16_bits(tmp_path):
    pcm = tone()
    write_wav(tmp_path / "a.wav", pcm, RATE)
    audio = read_audio(tmp_path / "a.wav")
    assert audio.sample_rate == RATE
    assert np.abs(audio.pcm - pcm).max() <= 0.5 / 32768


def test_two_channels_are_written_as_stereo(tmp_path):
    stereo = np.stack([tone(), -tone()], axis=1)
    write_wav(tmp_path / "a.wav", stereo, RATE)
    with wave.open(str(tmp_path / "a.wav")) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getnframes()) == (2, 2, len(stereo))
    read, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert np.abs(read - stereo).max() <= 0.5 / 32768


def test_an_older_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    write_wav(path, tone(), RATE)
    assert os.listdir(tmp_path) == ["a.wav"]
    assert read_audio(path).pcm.size == RATE // 2


@pytest.mark.skipif(os.name == "nt", reason="no such permissions")
def test_a_new_file_may_be_read_by_whom_the_umask_allows(tmp_path):
    old_mask = os.umask(0o022)
    try:
        write_wav(tmp_path / "a.wav", tone(), RATE)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o644


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"no directory .*nowhere; create it first$"):
        write_wav(tmp_path / "nowhere" / "a.wav", tone(), RATE)


def test_a_directory_is_not_written_over(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(AudioError, match="is not a file"):
        write_wav(tmp_path / "a.wav", tone(), RATE)


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no device files")
def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(AudioError, match="is not a file"):
        write_wav("/dev/null", tone(), RATE)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.wav").write_bytes(b"old")
    (tmp_path / "link.wav").symlink_to(tmp_path / "real.wav")
    write_wav(tmp_path / "link.wav", tone(), RATE)
    assert (tmp_path / "link.wav").is_symlink()
    assert read_audio(tmp_path / "real.wav").pcm.size == RATE // 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_directory_one_may_not_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(AudioError, match="may write to"):
        write_wav(tmp_path / "a.wav", tone(), RATE)


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no file size limits")
def test_when_the_file_cannot_grow_the_old_one_stays_whole(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, tone(0.01), RATE)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(AudioError, match=r"a\.wav: cannot be written \(.*free some space"):
            write_wav(path, tone(20.0), RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.wav"]


def test_a_full_disk_is_said_to_be_full(tmp_path, monkeypatch):
    def no_space(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(AudioError, match="No space left on device.*free some space"):
        write_wav(tmp_path / "a.wav", tone(), RATE)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("shape", [(), (4, 0), (4, 33), (2, 2, 2)])
def test_what_has_no_channels_or_too_many_is_not_written(tmp_path, shape):
    with pytest.raises(AudioError, match="shape"):
        write_wav(tmp_path / "a.wav", np.zeros(shape, np.float32), RATE)
    assert os.listdir(tmp_path) == []
