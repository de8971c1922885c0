"""How a long download tells what it is doing, without knowing who listens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

_LOOK_EVERY_S = 0.1


class Progress(Protocol):
    """Told about downloads as they happen. Calls may come from a worker thread, one at a time."""

    def began(self, what: str, total_bytes: int) -> None:
        """A download of about `total_bytes` begins."""

    def reached(self, done_bytes: int) -> None:
        """That many bytes of it are on disk."""

    def ended(self) -> None:
        """It is over, well or not."""

    def said(self, line: str) -> None:
        """A line a person may want to read."""


class Silent:
    """A `Progress` that says nothing."""

    def began(self, what: str, total_bytes: int) -> None:
        pass

    def reached(self, done_bytes: int) -> None:
        pass

    def ended(self) -> None:
        pass

    def said(self, line: str) -> None:
        pass


@contextlib.contextmanager
def watched(progress: Progress, what: str, total_bytes: int, folder: Path) -> Iterator[None]:
    """While the block runs, report the size of the largest file under `folder`.

    pip and the hub's library both write the file they download under a folder of our choice, so its
    size on disk is the progress, whatever they print. The largest, not the sum: either may keep
    small files of its own beside it. Never less than before: both move the file away at the end.
    """
    over = threading.Event()

    def look() -> None:
        most_bytes = 0
        while not over.wait(_LOOK_EVERY_S):
            most_bytes = max(most_bytes, min(_largest_bytes(folder), total_bytes))
            progress.reached(most_bytes)

    progress.began(what, total_bytes)
    watcher = threading.Thread(target=look, daemon=True, name="download-progress")
    watcher.start()
    try:
        yield
        over.set()
        watcher.join()
        progress.reached(total_bytes)
    finally:
        over.set()
        watcher.join()
        progress.ended()


def _largest_bytes(folder: Path) -> int:
    largest = 0
    with contextlib.suppress(OSError):  # files come and go while we look
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file():
                    largest = max(largest, path.stat().st_size)
    return largest
