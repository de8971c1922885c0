"""Pairs on the disk: whole or not there, the same whatever happened on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from backtalk.train.conversion import make_pairs as module
from backtalk.train.conversion.make_pairs import make_pairs, plan_shards
from backtalk.train.conversion.pair_files import open_pairs
from backtalk.train.conversion.teacher import Teacher
from backtalk.train.training_error import TrainingError
from train_llvc.tone_pairs import DyingTeacher, ToneTeacher, make_tones

HOURS = 0.01


@pytest.fixture(autouse=True)
def _short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_S", 15.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARD_S", 15.0)
        return make_tones(tmp_path_factory.mktemp("pairs"))


def make(folder: Path, teacher: Teacher, hours: float = HOURS) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    make_pairs(folder, teacher, hours, 0, 1, lambda done, total: told.append((done, total)))
    return told


def test_pairs_come_back_as_they_were_made_sample_for_sample(whole: Path) -> None:
    pairs = open_pairs(whole, "train")
    assert pairs.hours == pytest.approx(HOURS, rel=0.05)
    entry = pairs.shards[1].entries[3]
    found = pairs.shards[1].pair(entry)
    plan = next(plan for plan in plan_shards(HOURS, 0) if plan.name == "train-0001")
    teacher = ToneTeacher().pairs(plan)
    made = [next(teacher) for _ in range(4)][3]
    np.testing.assert_allclose(found.heard, made.heard, atol=1e-4)
    np.testing.assert_allclose(found.said, made.said, atol=1e-4)
    assert (found.voice, found.text) == ("low", "one two")


def test_a_shard_is_a_stereo_file_that_anybody_can_play(whole: Path) -> None:
    info = soundfile.info(whole / "train-0000.wav")
    assert (info.channels, info.samplerate, info.frames) == (2, 16_000, 15 * 16_000)


def test_a_run_that_failed_goes_on_with_what_is_missing(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="disk full"):
        make(tmp_path, DyingTeacher())
    assert (tmp_path / "train-0000.json").is_file()
    assert not (tmp_path / "train-0001.json").exists()
    (tmp_path / "train-0002.wav").write_bytes(b"left behind")
    assert make(tmp_path, ToneTeacher())[0] == (2, 4)
    for path in sorted(whole.iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_folder_of_other_pairs_is_left_alone(whole: Path) -> None:
    with pytest.raises(TrainingError, match="holds other pairs"):
        make(whole, ToneTeacher(seconds=0.7))
    with pytest.raises(TrainingError, match="holds other pairs"):
        make(whole, ToneTeacher(), hours=0.02)


def test_a_folder_without_pairs_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="llvc-data --out"):
        open_pairs(tmp_path, "train")


def test_a_shard_that_is_cut_short_is_named(tmp_path: Path) -> None:
    folder = make_tones(tmp_path)
    sound = folder / "train-0000.wav"
    sound.write_bytes(sound.read_bytes()[:-2])
    with pytest.raises(TrainingError, match=r"train-0000.*cut short"):
        open_pairs(folder, "train")
    (folder / "train-0001.json").write_text("[{}]")
    sound.unlink()
    (folder / "train-0000.json").unlink()
    with pytest.raises(TrainingError, match=r"train-0001.*damaged"):
        open_pairs(folder, "train")
