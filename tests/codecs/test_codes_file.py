"""Files of codes: what is written is read, and what is damaged is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backtalk.codecs.codes_file import CodesFile, read_codes, write_codes
from backtalk.errors import AudioError

FILE = CodesFile(
    np.random.default_rng(0).integers(0, 2048, (8, 20)),
    codec="mimi",
    sample_rate=24_000,
    frame_size=1920,
    cardinality=2048,
    samples=20 * 1920 - 7,
)
NAMES = ["codes.npz", "codes.safetensors"]


def refusal(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        read_codes(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    write_codes(tmp_path / name, FILE)
    found = read_codes(tmp_path / name)
    assert np.array_equal(found.codes, FILE.codes)
    for name_of_field in ("codec", "sample_rate", "frame_size", "cardinality", "samples"):
        assert getattr(found, name_of_field) == getattr(FILE, name_of_field)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_codes(path, FILE)
    whole = path.read_bytes()
    for kept in (0, 3, 40, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:kept])
        assert "codes file" in refusal(path)


def test_other_files_are_no_codes(tmp_path: Path) -> None:
    path = tmp_path / "codes.npz"
    path.write_text("not codes at all, but long enough to be read as a header of something")
    assert "codes file" in refusal(path)
    np.savez(path, codes=np.zeros((2, 2), np.uint16))
    assert "codes file" in refusal(path)
    np.savez(path, codes=np.array([object()]), codec="mimi")
    assert "codes file" in refusal(path)
    assert "no such file" in refusal(tmp_path / "none.npz")
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 20 * 1920 + 1},
        {"samples": 0},
        {"frame_size": 0},
        {"codes": np.zeros((8, 0), np.uint16)},
    ],
)
def test_codes_that_do_not_fit_their_length_are_refused(
    tmp_path: Path, wrong: dict[str, int]
) -> None:
    path = tmp_path / "codes.npz"
    write_codes(path, replace(FILE, **wrong))
    assert "do not fit" in refusal(path)


def test_codes_are_not_written_where_they_cannot_be(tmp_path: Path) -> None:
    for path, says in (
        (tmp_path / "codes.txt", ".npz or .safetensors"),
        (tmp_path / "none" / "codes.npz", "make it first"),
    ):
        with pytest.raises(AudioError, match=says):
            write_codes(path, FILE)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(AudioError, match="is a folder"):
        write_codes(tmp_path / "folder.npz", FILE)
