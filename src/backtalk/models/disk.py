"""Sizes, hashes and a full disk."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path

from backtalk.errors import ModelError

COPY_BYTES = 1 << 20


def size_text(size_bytes: int) -> str:
    """A size for people, in powers of 1000: `98.4 MB`, `2.3 kB`."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"


def sha256_of(path: Path) -> str:
    """The file's sha256, 64 lower-case hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def need_free(folder: Path, need_bytes: int, what: str) -> None:
    """Refuse early what would not fit.

    Raises:
        ModelError: fewer than `need_bytes` are free where `folder` lies.
    """
    if shutil.disk_usage(folder).free < need_bytes:
        raise disk_full(folder, need_bytes, what)


def disk_full(folder: Path, need_bytes: int, what: str) -> ModelError:
    """The error for a full disk, with the bytes needed and free."""
    free_bytes = shutil.disk_usage(folder).free
    return ModelError(
        f"disk full: {what} needs {size_text(need_bytes)} ({need_bytes} bytes) in {folder}, "
        f"{size_text(free_bytes)} ({free_bytes} bytes) are free; "
        "make room or set BACKTALK_MODELS to a folder on another disk"
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or the user's share of it, is full."""
    full = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
    return isinstance(error, OSError) and error.errno in full
