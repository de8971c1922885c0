"""What a measurement leaves behind: OUT.json, and OUT.png beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backtalk.errors import ConfigError


def check_report_folder(out: Path | None) -> None:
    """Refuse a report that could not be written, before minutes are spent on it.

    Raises:
        ConfigError: there is no such folder.
    """
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"{out} cannot be written: make the folder {out.parent} first")


def write_report(
    out: Path | None, report: dict[str, Any], draw: Callable[[Path], None] | None = None
) -> None:
    """Write OUT.json, and let `draw` draw OUT.png.

    Raises:
        ConfigError: the disk is full, or the files cannot be written.
    """
    if out is None:
        return
    try:
        out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
        if draw is not None:
            draw(out.with_suffix(".png"))
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
