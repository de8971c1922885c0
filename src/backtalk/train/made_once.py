"""What is prepared from data before a run begins: made the first time, found the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backtalk.models.disk import is_disk_full
from backtalk.train.minitalk.corpus import write_whole
from backtalk.train.training_error import TrainingError

Lengths = dict[str, list[int]]
"""Of every recording, by split."""


def made_once(
    index: Path, wanted: Mapping[str, Any], make: Callable[[], Lengths], what: str
) -> Lengths:
    """The lengths of what lies beside an index, made by `make` unless just that is there.

    Args:
        index: JSON file, written when all is made.
        wanted: everything that decides what is made.
        make: makes it, and returns the lengths.
        what: of it, in a message.
    Raises:
        TrainingError: there is no room for it.
    """
    lengths = _read(index, wanted)
    if lengths is None:
        try:
            lengths = make()
            write_whole(index, json.dumps({"wanted": wanted, "lengths": lengths}) + "\n")
        except OSError as error:
            reason = "disk full" if is_disk_full(error) else error.strerror or str(error)
            raise TrainingError(
                f"cannot write the {what} to {index.parent} ({reason}); make room, or give "
                "another --out or fewer hours"
            ) from error
    return lengths


def _read(index: Path, wanted: Mapping[str, Any]) -> Lengths | None:
    try:
        table: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        if not {"wanted", "lengths"} <= set(table) or table["wanted"] != wanted:
            return None
        lengths: Lengths = table["lengths"]
    except (OSError, ValueError, TypeError):
        return None  # none yet, or cut short: it is made anew
    return lengths
