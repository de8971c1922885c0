from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backtalk.cli.models import app
from backtalk.errors import ModelError
from backtalk.models import wheels
from backtalk.models.manifest import Wheel, shipped_manifest
from backtalk.models.store import ModelStore

CALM = CliRunner()


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """An empty store with the shipped manifest, and no network."""

    def no_pip(wheel: Wheel, *_: object) -> str:
        return "no network in a test"

    monkeypatch.setattr(wheels, "pip_download", no_pip)
    monkeypatch.setenv("BACKTALK_MODELS", str(tmp_path / "store"))
    monkeypatch.delenv("BACKTALK_OFFLINE", raising=False)
    return ModelStore.default()


def run(*arguments: str) -> str:
    """Standard output of a command that must succeed."""
    result = CALM.invoke(app, list(arguments))
    assert result.exception is None, result.output
    return result.stdout


def failure(*arguments: str) -> str:
    """The one line with which a command fails; `backtalk`'s main turns it into exit code 2."""
    result = CALM.invoke(app, list(arguments))
    assert isinstance(result.exception, ModelError), result.output
    line = str(result.exception)
    assert "\n" not in line
    return line


def pretend_present(store: ModelStore, *model_ids: str) -> None:
    """Files of the right size, full of zeros."""
    for model_id in model_ids:
        for file in store.manifest.model(model_id).files:
            path = store.root / model_id / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                out.truncate(file.size_bytes)


def test_list_shows_every_model_and_whether_it_is_here(store: ModelStore) -> None:
    pretend_present(store, "silero-vad", "whisper-tiny.en")
    (store.root / "whisper-tiny.en" / "model.bin").unlink()
    here = {line.split()[0]: line.split()[4] for line in run("list").splitlines()[1:7]}
    assert here == {
        "silero-vad": "yes",
        "smart-turn-v3.2": "no",
        "whisper-tiny.en": "partly",
        "whisper-base": "no",
        "smollm2-135m": "no",
        "piper-joe": "no",
    }


def test_list_speaks_json(store: ModelStore) -> None:
    pretend_present(store, "silero-vad")
    told = json.loads(run("list", "--json"))
    assert told["store"] == str(store.root)
    assert [model["id"] for model in told["models"]] == list(shipped_manifest().models)
    first = told["models"][0]
    assert first["present"]
    assert first["size_bytes"] == 2_327_524
    assert first["sets"] == ["default", "eval"]
    assert first["path"] == str(store.root / "silero-vad")


def test_get_of_an_unknown_id_or_set_lists_the_known_ones() -> None:
    assert "known: silero-vad, smart-turn-v3.2" in failure("get", "nose")
    assert "known: default, eval" in failure("get", "--set", "nose")


def test_get_without_ids_is_the_default_set_and_offline_is_refused(store: ModelStore) -> None:
    assert failure("get", "--offline").startswith("silero-vad is not complete")
    assert not (store.root / ".partial").exists()


def test_get_tells_why_it_failed() -> None:
    line = failure("get", "silero-vad", "--json")
    assert line.startswith("silero-vad: no source has silero_vad.onnx: ")
    assert "pipecat-ai 1.14.0: no network in a test" in line
    assert "silero-vad 6.2.1: no network in a test" in line


class TestGetWithAnIndex:
    @pytest.fixture(autouse=True)
    def small(self, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A manifest of one small model whose first wheel is gone."""
        import hashlib
        import zipfile

        digest = hashlib.sha256(b"tiny").hexdigest()
        manifest = tmp_path / "manifest.toml"
        manifest.write_text(
            f"""
            [sets]
            default = ["tiny"]
            [wheels]
            gone = {{ version = "1", size_bytes = 10 }}
            pack = {{ version = "1", size_bytes = 10 }}
            [[model]]
            id = "tiny"
            description = "a test"
            licence = "MIT"
            homepage = "https://example.org"
            [[model.file]]
            name = "tiny.bin"
            size_bytes = 4
            sha256 = "{digest}"
            sources = [{{ wheel = "gone", path = "t" }}, {{ wheel = "pack", path = "t" }}]
            """
        )

        def pip(wheel: Wheel, delivered: Path, scratch: Path) -> str | None:
            if wheel.package == "gone":
                return "nothing"
            with zipfile.ZipFile(delivered / "pack-1-py3-none-any.whl", "w") as archive:
                archive.writestr("t", b"tiny")
            return None

        from backtalk.models import store as store_module
        from backtalk.models.manifest import read_manifest

        monkeypatch.setattr(wheels, "pip_download", pip)
        monkeypatch.setattr(store_module, "shipped_manifest", lambda: read_manifest(manifest))

    def test_without_a_terminal_there_is_a_line_per_file_on_standard_error(
        self, store: ModelStore
    ) -> None:
        result = CALM.invoke(app, ["get"])
        assert result.exit_code == 0
        assert result.stderr.splitlines() == [
            "tiny/tiny.bin, 0.0 kB (package index: pack 1)",
            "note: the package index did not deliver gone 1: nothing; the next source was used",
        ]
        assert result.stdout.startswith(f"1 model in {store.root}, 0.0 kB (1 fetched, 0 already")

    def test_json_is_all_that_is_said(self, store: ModelStore) -> None:
        result = CALM.invoke(app, ["get", "tiny", "--json"])
        assert result.stderr == ""
        told = json.loads(result.stdout)
        assert told["models"] == [
            {
                "id": "tiny",
                "path": str(store.root / "tiny"),
                "files": [{"name": "tiny.bin", "size_bytes": 4, "source": "package index: pack 1"}],
                "passed_over": ["the package index did not deliver gone 1: nothing"],
            }
        ]
        again = json.loads(run("get", "--set", "default", "--json"))
        assert again["models"][0]["files"][0]["source"] == "already there"

    def test_check_is_content_after_get(self) -> None:
        run("get")
        assert run("check") == "tiny: ok\n"
        assert json.loads(run("check", "--json"))["models"] == [
            {"id": "tiny", "ok": True, "problems": []}
        ]


def test_check_of_an_empty_store_says_what_to_do(store: ModelStore) -> None:
    assert failure("check") == f"the model store {store.root} is empty; run `backtalk models get`"


def test_check_names_the_damaged_file_with_both_hashes(store: ModelStore) -> None:
    pretend_present(store, "silero-vad")
    result = CALM.invoke(app, ["check"])
    assert isinstance(result.exception, ModelError)
    assert "run `backtalk models get silero-vad`" in str(result.exception)
    expected = store.manifest.model("silero-vad").files[0].sha256
    assert f"silero_vad.onnx is damaged: expected sha256 {expected}, found sha256 " in result.stdout
    told = json.loads(CALM.invoke(app, ["check", "--json"]).stdout)
    assert told["models"][0]["problems"][0]["file"] == "silero_vad.onnx"


def test_check_of_a_missing_model_fails() -> None:
    assert "run `backtalk models get piper-joe`" in failure("check", "piper-joe")


@pytest.mark.parametrize("command", ["list", "get", "check"])
def test_every_command_has_an_example(command: str) -> None:
    assert f"Example: backtalk models {command}" in run(command, "--help")


def test_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys, backtalk.cli.models\n"
        "heavy = ['numpy', 'huggingface_hub', 'httpx', 'filelock', 'rich.progress', 'zipfile']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
