"""Downloads on standard error: a bar on a terminal, else one line per file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from backtalk.models.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Lines(Silent):
    """One line per finished file."""

    def said(self, line: str) -> None:
        typer.echo(line, err=True)


class Bar:
    """A moving bar for the download under way, finished files as lines above it."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def began(self, what: str, total_bytes: int) -> None:
        self._task = self._bars.add_task(what, total=total_bytes)

    def reached(self, done_bytes: int) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done_bytes)

    def ended(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def said(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """Whatever display suits standard error, for the length of the block."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Bar(bars)
