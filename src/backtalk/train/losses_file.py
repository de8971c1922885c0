"""The curve of a run: one JSON object per line, in the order of the steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOSSES = "losses.jsonl"


class LossesFile:
    """Appends lines.

    Args:
        folder: of the run.
        first_step: lines of this step and later ones are dropped: a killed run wrote them after
            its last checkpoint, and they come again.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self._path = folder / LOSSES
        kept = [line for line in read_losses(folder) if line["step"] < first_step]
        self._path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Note the scalars of a step."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def read_losses(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run; none if it has not begun. A last line that is cut short is left out."""
    path = folder / LOSSES
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found
