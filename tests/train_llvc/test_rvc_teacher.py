"""RVC as the teacher, with a stand-in for its package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backtalk.audio.files import write_wav
from backtalk.errors import ConfigError, ModelError
from backtalk.train.conversion.rvc_teacher import RvcTeacher
from backtalk.train.conversion.teacher import ShardPlan
from train_llvc.tone_pairs import tone

PLAN = ShardPlan("train", 0, 1, 60.0, 0)


class FakeLoader:
    """Answers at 40 kHz in 16 bits, as RVC does."""

    lost_samples = 0
    asked: list[dict[str, Any]] = []

    def __init__(self, **files: Any) -> None:
        assert Path(files["hubert_path"]).is_dir()

    def apply_conf(self, **settings: Any) -> None:
        FakeLoader.asked.append(settings)

    def generate_from_cache(self, audio_data: Any, tag: str) -> tuple[np.ndarray, int]:
        pcm, rate = audio_data
        length = len(pcm) * 40_000 // rate - FakeLoader.lost_samples
        return np.full(length, 8192, np.int16), 40_000


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RvcTeacher:
    package = ModuleType("infer_rvc_python")
    monkeypatch.setattr(package, "BaseLoader", FakeLoader, raising=False)
    monkeypatch.setitem(sys.modules, "infer_rvc_python", package)
    monkeypatch.setattr(FakeLoader, "asked", [])
    monkeypatch.setattr(FakeLoader, "lost_samples", 0)
    (tmp_path / "models" / "hubert_base").mkdir(parents=True)
    (tmp_path / "models" / "rmvpe.pt").touch()
    (tmp_path / "voice.pth").touch()
    (tmp_path / "speech").mkdir()
    for number, hz in enumerate((100, 220, 110)):
        write_wav(tmp_path / "speech" / f"{number}.wav", tone(hz, 0.6), 16_000)
    return RvcTeacher(tmp_path / "voice.pth", tmp_path / "models", tmp_path / "speech")


def test_recordings_are_paired_with_what_rvc_makes_of_them(teacher: RvcTeacher) -> None:
    pairs = list(teacher.pairs(PLAN))
    assert len(pairs) == 2  # the third is held out
    for pair in pairs:
        assert pair.heard.shape == pair.said.shape == (9600,)
        assert np.median(pair.said) == pytest.approx(0.25, rel=0.01)


def test_low_voices_are_taken_up_an_octave_and_no_other_interval(teacher: RvcTeacher) -> None:
    names = [pair.voice for pair in teacher.pairs(PLAN)]
    steps = {name: asked["pitch_lvl"] for name, asked in zip(names, FakeLoader.asked, strict=True)}
    assert all(steps[name] == (0 if name == "1.wav" else 12) for name in names)


def test_a_conversion_of_another_length_is_refused(
    teacher: RvcTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeLoader, "lost_samples", 4000)
    with pytest.raises(ModelError, match="equally long"):
        next(teacher.pairs(PLAN))


def test_a_missing_file_and_a_missing_package_are_named(
    teacher: RvcTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "infer_rvc_python", None)
    with pytest.raises(ConfigError, match="pip install infer-rvc-python"):
        next(teacher.pairs(PLAN))
    (teacher.models / "rmvpe.pt").unlink()
    with pytest.raises(ModelError, match=r"rmvpe\.pt"):
        next(teacher.pairs(PLAN))
