from __future__ import annotations

import re
from pathlib import Path

import pytest

from backtalk.errors import ModelError
from backtalk.models.manifest import (
    HubFile,
    ModelFile,
    Wheel,
    WheelFile,
    WheelMember,
    read_manifest,
    shipped_manifest,
)

LICENCES = {"MIT", "BSD-2-Clause", "Apache-2.0", "CC0-1.0"}
SHIPPED = {
    "silero-vad",
    "smart-turn-v3.2",
    "whisper-tiny.en",
    "whisper-base",
    "smollm2-135m",
    "piper-joe",
    "dnsmos",
    "resemblyzer",
}


def test_the_shipped_manifest_is_complete_and_consistent() -> None:
    manifest = shipped_manifest()
    assert set(manifest.models) == SHIPPED
    for model in manifest.models.values():
        assert model.licence in LICENCES
        assert model.homepage.startswith("https://")
        assert model.description
        for file in model.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert file.size_bytes > 0
            # The hub comes first where there is one, the package index is always there behind it.
            assert isinstance(file.sources[-1], WheelFile)
            assert not any(isinstance(source, HubFile) for source in file.sources[1:])
    hashes = [file.sha256 for model in manifest.models.values() for file in model.files]
    assert len(set(hashes)) == len(hashes)


def test_every_wheel_has_one_version_and_a_size() -> None:
    wheels: dict[str, Wheel] = {}
    for model in shipped_manifest().models.values():
        for file in model.files:
            for source in file.sources:
                for part in source.parts if isinstance(source, WheelFile) else ():
                    assert part.wheel.size_bytes > 1_000_000
                    assert wheels.setdefault(part.wheel.package, part.wheel) == part.wheel


def test_the_default_set_is_what_the_default_agent_needs() -> None:
    manifest = shipped_manifest()
    default = set(manifest.set_members("default"))
    assert default == {"silero-vad", "smart-turn-v3.2", "whisper-tiny.en", "smollm2-135m"}
    assert set(manifest.set_members("eval")) == default | {"whisper-base", "dnsmos", "resemblyzer"}


def test_an_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no set is called 'all'; known: default, eval"):
        shipped_manifest().set_members("all")


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "a/../../b", "a//b", "", ".", "a\\..\\b", "C:/x", "a/\0"]
)
def test_a_path_that_leaves_the_archive_is_refused(path: str) -> None:
    with pytest.raises(ModelError, match="leaves its archive"):
        WheelMember(Wheel("p", "1", 1), path)
    with pytest.raises(ModelError, match="leaves its archive"):
        HubFile("owner/name", "main", path)


@pytest.mark.parametrize("name", ["../model.bin", "sub/model.bin", "..", ".hidden", "", "a\\b"])
def test_a_file_name_that_leaves_the_store_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="bad file name"):
        ModelFile(name, 1, "0" * 64, (HubFile("owner/name", "main", "x"),))


@pytest.mark.parametrize(
    ("package", "version"), [("--index-url=x", "1"), ("p", "--pre"), ("p q", "1"), ("p", "1 2")]
)
def test_nothing_that_pip_would_take_for_an_option_is_accepted(package: str, version: str) -> None:
    with pytest.raises(ModelError, match="bad package"):
        Wheel(package, version, 1)


def test_a_short_hash_is_refused() -> None:
    with pytest.raises(ModelError, match="bad sha256"):
        ModelFile("model.bin", 1, "abc", (HubFile("owner/name", "main", "x"),))


MANIFEST = """
[sets]
default = ["one"]
[hubs]
"owner/name" = "main"
[wheels]
pack = { version = "1.0", size_bytes = 10 }
[[model]]
id = "one"
description = "d"
licence = "MIT"
homepage = "https://example.org"
[[model.file]]
name = "f.bin"
size_bytes = 3
sha256 = "HASH"
sources = [
  { hub = "owner/name", path = "f.bin" },
  { parts = [{ wheel = "pack", path = "a" }, { wheel = "pack", path = "b" }] },
]
""".replace("HASH", "a" * 64)


def test_a_manifest_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(MANIFEST)
    manifest = read_manifest(path)
    pack = Wheel("pack", "1.0", 10)
    assert manifest.model("one").files[0].sources == (
        HubFile("owner/name", "main", "f.bin"),
        WheelFile((WheelMember(pack, "a"), WheelMember(pack, "b"))),
    )


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        ('default = ["one"]', 'default = ["two"]', "unknown models"),
        ('wheel = "pack", path = "a"', 'wheel = "lost", path = "a"', "lacks something: 'lost'"),
        ('licence = "MIT"', "", "lacks something: 'licence'"),
        ("size_bytes = 3", "size_bytes = 0", "bad size"),
        ("[sets]", "[sets", "cannot be read"),
    ],
)
def test_a_wrong_manifest_is_one_clear_error(
    tmp_path: Path, good: str, bad: str, says: str
) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(MANIFEST.replace(good, bad, 1))
    with pytest.raises(ModelError, match=says):
        read_manifest(path)


def test_a_missing_manifest_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_manifest(tmp_path / "none.toml")
