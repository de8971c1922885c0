"""Speech for training: what is read, what is held out, and which windows a step gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backtalk.audio.files import write_wav
from backtalk.errors import BacktalkError
from backtalk.train.recordings import recordings
from backtalk.train.seeding import step_random
from backtalk.train.speech_store import Speech, open_speech
from backtalk.train.speech_teacher import pooled
from backtalk.train.speech_windows import draw_windows, spread_windows
from backtalk.train.training_error import TrainingError

RATE = 24_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ninety recordings of one value each, 0.01 to 0.90, some in folders and at another rate."""
    data = tmp_path / "data"
    for number in range(1, 91):
        path = data / f"{number % 3}" / f"{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = RATE if number % 2 else 16_000
        write_wav(path, np.full(rate // 10, number / 100, np.float32), rate)
    return data


def speech(*lengths: int) -> Speech:
    """Recordings that hold their own number, from 1."""
    pcm = np.concatenate([np.full(n, 1000 * i, np.int16) for i, n in enumerate(lengths, 1)])
    return Speech(pcm, np.concatenate([[0], np.cumsum(lengths)]), RATE, "test")


def test_no_recording_is_both_learned_from_and_held_out(folder: Path) -> None:
    learned = [recording.name for recording in recordings(folder, held_out=False)]
    apart = [recording.name for recording in recordings(folder, held_out=True)]
    assert len(learned) + len(apart) == 90
    assert apart
    assert not set(learned) & set(apart)


def test_a_file_added_later_leaves_the_others_on_their_side(folder: Path) -> None:
    before = {recording.name for recording in recordings(folder, held_out=True)}
    write_wav(folder / "new.wav", np.zeros(100, np.float32), RATE)
    assert before <= {recording.name for recording in recordings(folder, held_out=True)}


def test_speech_is_decoded_once_at_one_rate(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    learned, apart = open_speech(folder, out, RATE, 1.0)
    assert (len(learned.pcm) + len(apart.pcm)) == 90 * RATE // 10
    written = (out / "speech.train.int16").stat().st_mtime_ns
    again, _ = open_speech(folder, out, RATE, 1.0)
    assert (out / "speech.train.int16").stat().st_mtime_ns == written
    assert np.array_equal(again.pcm, learned.pcm)
    middle = learned.pcm[learned.starts[:-1] + RATE // 20] / 32768
    expected = [
        int(Path(recording.name).stem) / 100 for recording in recordings(folder, held_out=False)
    ]
    assert middle == pytest.approx(expected, abs=0.002)


def test_no_more_hours_are_read_than_asked_for(folder: Path, tmp_path: Path) -> None:
    learned, _ = open_speech(folder, tmp_path, RATE, 1 / 3600)
    assert len(learned.pcm) == RATE


def test_a_store_that_was_cut_short_is_refused(folder: Path, tmp_path: Path) -> None:
    open_speech(folder, tmp_path, RATE, 1.0)
    path = tmp_path / "speech.train.int16"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError) as caught:
        open_speech(folder, tmp_path, RATE, 1.0)
    assert "cut short" in str(caught.value)


@pytest.mark.parametrize("files", [0, 1])
def test_a_folder_without_recordings_is_refused(tmp_path: Path, files: int) -> None:
    for number in range(files):
        write_wav(tmp_path / f"{number}.wav", np.zeros(100, np.float32), RATE)
    with pytest.raises(TrainingError) as caught:
        list(recordings(tmp_path, held_out=False))
    assert f"holds {files} recordings" in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        list(recordings(tmp_path / "none", held_out=False))
    assert "minitalk-data" in str(caught.value)


def test_a_damaged_recording_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "0" / "03.wav").write_bytes(b"no sound")
    with pytest.raises(BacktalkError) as caught:
        open_speech(folder, tmp_path, RATE, 1.0)
    assert "03.wav" in str(caught.value)


def test_a_step_gets_the_same_windows_every_time_and_others_than_the_next() -> None:
    found = speech(5000, 70, 900)

    def draw(step: int, device: int = 0) -> np.ndarray:
        return draw_windows(found, 4, 100, 6.0, step_random(0, step, device, "windows"))

    assert np.array_equal(draw(7), draw(7))
    assert not np.array_equal(draw(7), draw(8))
    assert not np.array_equal(draw(7), draw(7, device=1))


def test_a_window_lies_in_one_recording_and_every_second_is_as_likely() -> None:
    found = speech(6000, 2000)
    drawn = draw_windows(found, 800, 100, 0.0, np.random.default_rng(0))
    values = np.round(drawn * 32768).astype(int)
    assert (values == values[:, :1]).all()
    assert np.mean(values[:, 0] == 1000) == pytest.approx(0.75, abs=0.05)


def test_a_short_recording_lies_in_silence_wherever_it_fits() -> None:
    drawn = draw_windows(speech(30), 200, 100, 0.0, np.random.default_rng(0))
    assert ((drawn != 0).sum(1) == 30).all()
    begins = (drawn != 0).argmax(1)
    assert begins.min() < 5
    assert begins.max() > 65


def test_levels_differ_and_never_clip() -> None:
    loud = Speech(np.full(1000, 30000, np.int16), np.array([0, 1000]), RATE, "test")
    drawn = draw_windows(loud, 100, 50, 6.0, np.random.default_rng(0))
    assert drawn.max() <= 0.99
    assert drawn[:, 0].min() < 0.6


def test_windows_for_scoring_are_spread_over_everything() -> None:
    windows = spread_windows(speech(1000, 1000, 1000), 3, 100)
    assert windows[:, 0].tolist() == pytest.approx([1000 / 32768, 2000 / 32768, 3000 / 32768])
    assert spread_windows(speech(40), 3, 100).shape == (1, 100)


def test_states_are_averaged_over_two_frames_around_each() -> None:
    states = np.arange(12, dtype=np.float32)[None, :, None]
    # Frame 1 is states 4 to 7; 2 before and 2 after belong to its average.
    assert pooled(states)[0, :, 0].tolist() == [2.5, 5.5, 8.5]
