"""Codes on disk: an `.npz` or `.safetensors` file that knows which codec they belong to."""

from __future__ import annotations

import os
import secrets
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.errors import AudioError

SUFFIXES = (".npz", ".safetensors")
_WORDS = ("codec",)
_NUMBERS = ("sample_rate", "frame_size", "cardinality", "samples")


@dataclass(frozen=True, slots=True, eq=False)
class CodesFile:
    """Codes and what is needed to hear them.

    Attributes:
        codes: int64 [codebooks, frames].
        codec: whose they are: `mimi`.
        sample_rate: Hz of the codec.
        frame_size: samples per frame.
        cardinality: codes are 0 to this less one.
        samples: how many samples they stand for at `sample_rate`; the last frame may be longer.
    """

    codes: np.ndarray
    codec: str
    sample_rate: int
    frame_size: int
    cardinality: int
    samples: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


def check_codes_path(path: Path) -> None:
    """Refuse a path that no codes could be written to.

    Raises:
        AudioError: another suffix, a folder, or in a folder that does not exist.
    """
    if path.suffix not in SUFFIXES:
        raise AudioError(f"{path}: codes are written as {' or '.join(SUFFIXES)}; name it so")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder; give a file name")
    if not path.parent.is_dir():
        raise AudioError(f"{path}: there is no folder {path.parent}; make it first")


def write_codes(path: Path, file: CodesFile) -> None:
    """Write codes as 16-bit numbers. The file appears whole or not at all.

    Raises:
        AudioError: see `check_codes_path`; or it cannot be written.
    """
    check_codes_path(path)
    codes = np.ascontiguousarray(file.codes, dtype=np.uint16)
    unfinished = path.parent / f".backtalk-{secrets.token_hex(8)}{path.suffix}"
    try:
        try:
            if path.suffix == ".npz":
                about: dict[str, Any] = {name: getattr(file, name) for name in (*_WORDS, *_NUMBERS)}
                np.savez(unfinished, codes=codes, **about)
            else:
                from safetensors.numpy import save_file

                words = {name: str(getattr(file, name)) for name in (*_WORDS, *_NUMBERS)}
                save_file({"codes": codes}, unfinished, metadata=words)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({error.strerror}); check disk") from error


def read_codes(path: Path) -> CodesFile:
    """Read what `write_codes` wrote. What the file holds decides, not what it is called.

    Raises:
        AudioError: missing, not a codes file, cut short or inconsistent.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
    except FileNotFoundError as error:
        raise AudioError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    try:
        fields = _read_npz(path) if is_zip else _read_safetensors(path)
        codes = np.asarray(fields["codes"])
        numbers = {name: int(fields[name]) for name in _NUMBERS}
        found = CodesFile(codes, str(fields["codec"]), **numbers)
    except AudioError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise AudioError(
            f"{path}: is no codes file, or damaged; make it with `backtalk codec encode`"
        ) from error
    _check(path, found)
    return found


def _read_npz(path: Path) -> dict[str, Any]:
    # numpy leaves a file open that it opened itself and found damaged.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in ("codes", *_WORDS, *_NUMBERS)}


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {"codes": file.get_tensor("codes"), **(file.metadata() or {})}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _check(path: Path, file: CodesFile) -> None:
    codes = file.codes
    is_whole = (
        codes.ndim == 2
        and np.issubdtype(codes.dtype, np.integer)
        and codes.size > 0
        and min(file.sample_rate, file.frame_size, file.cardinality) > 0
        and 0 < file.samples <= codes.shape[1] * file.frame_size
    )
    if not is_whole:
        raise AudioError(
            f"{path}: its codes {codes.dtype} {codes.shape} do not fit its {file.samples} samples "
            f"in frames of {file.frame_size}; encode the recording again"
        )
