from __future__ import annotations

from pathlib import Path

import pytest

from backtalk.errors import ModelError
from backtalk.models.store import ModelStore, Problem


def put(store: ModelStore, model_id: str, name: str, content: bytes) -> Path:
    folder = store.root / model_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


def test_require_gives_the_folder_of_a_present_model(ear_and_voice: ModelStore) -> None:
    folder = put(ear_and_voice, "ear", "ear.onnx", b"ear" * 100)
    assert ear_and_voice.require("ear") == folder
    assert ear_and_voice.is_present("ear")


def test_require_of_a_missing_model_names_the_command_that_fetches_it(
    ear_and_voice: ModelStore,
) -> None:
    with pytest.raises(ModelError, match=r"ear\.onnx is missing; run `backtalk models get ear`"):
        ear_and_voice.require("ear")
    assert not ear_and_voice.is_present("ear")
    assert not ear_and_voice.root.exists()


def test_require_notices_a_cut_off_file(ear_and_voice: ModelStore) -> None:
    put(ear_and_voice, "ear", "ear.onnx", b"ear")
    with pytest.raises(ModelError, match=r"expected 300 bytes, found 3 bytes; run"):
        ear_and_voice.require("ear")
    assert ear_and_voice.has_any_file("ear")


def test_an_unknown_id_lists_the_known_ones(ear_and_voice: ModelStore) -> None:
    for ask in (ear_and_voice.require, ear_and_voice.is_present, ear_and_voice.check):
        with pytest.raises(ModelError, match=r"no model is called 'nose'; known: ear, voice"):
            ask("nose")


def test_check_finds_damage_that_keeps_the_size(ear_and_voice: ModelStore) -> None:
    put(ear_and_voice, "ear", "ear.onnx", b"eax" * 100)
    assert ear_and_voice.is_present("ear")
    expected = ear_and_voice.manifest.model("ear").files[0].sha256
    (problem,) = ear_and_voice.check("ear")
    assert problem.file == "ear.onnx"
    assert problem.expected == f"sha256 {expected}"
    assert problem.found.startswith("sha256 ")
    assert problem.found != problem.expected


def test_check_names_a_missing_file(ear_and_voice: ModelStore) -> None:
    assert ear_and_voice.check("voice") == [Problem("voice.onnx", "500 bytes", "missing")]
    assert str(ear_and_voice.check("voice")[0]) == "voice.onnx is missing"


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BACKTALK_MODELS", str(tmp_path / "here"))
    assert ModelStore.default().root == tmp_path / "here"
    monkeypatch.setenv("BACKTALK_MODELS", "~/models")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ModelStore.default().root == tmp_path / "models"


def test_without_it_the_store_is_in_the_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BACKTALK_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ModelStore.default().root == tmp_path / "backtalk" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ModelStore.default().root == tmp_path / ".cache" / "backtalk" / "models"
