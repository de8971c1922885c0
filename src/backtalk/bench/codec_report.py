"""The codec benchmark as JSON, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.bench.codec import DIRECTIONS, Contestant
from backtalk.machine import describe_machine

if TYPE_CHECKING:
    from rich.table import Table

FRAME_MS = 80.0
_PACKAGES = ("torch", "transformers", "rustymimi")
_COLOURS = {"encode": "#3b82c4", "decode": "#4f9d69"}


def codec_report(
    contestants: Sequence[Contestant],
    ours: Sequence[str],
    num_codebooks: int,
    exactness: dict[str, Any],
    memory_gb_per_s: float,
) -> dict[str, Any]:
    """Everything that was found, ready for JSON.

    Args:
        contestants: measured.
        ours: which of them are ours.
        num_codebooks: codes per frame.
        exactness: what rounding the weights costs, by name.
        memory_gb_per_s: what one thread can read.
    """
    found = {contestant.name: contestant.as_dict() for contestant in contestants}
    others = [name for name in found if name not in ours]
    shares = {
        name: {
            direction: round(
                found[name][direction]["wall_ms"]["p50"]
                / min(found[other][direction]["wall_ms"]["p50"] for other in others),
                3,
            )
            for direction in DIRECTIONS
        }
        for name in ours
        if others
    }
    return {
        "what": "one stream, one thread, time per frame of 80 ms; random weights",
        "codebooks": num_codebooks,
        "memory_gb_per_s": round(memory_gb_per_s, 1),
        "contestants": found,
        "share_of_the_best_other": shares,
        "exactness": exactness,
        "machine": describe_machine(),
        "versions": {package: _version(package) for package in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def codec_table(report: dict[str, Any]) -> Table:
    """Milliseconds per frame."""
    from rich.table import Table

    title = f"Per frame of 80 ms, {report['codebooks']} codebooks, one thread, random weights"
    table = Table(title=title)
    for name in ("", "", "p50 ms", "p95 ms", "p99 ms", "CPU p50 ms", "rtf", "GB/s"):
        table.add_column(name, justify="right" if name else "left")
    for name, directions in report["contestants"].items():
        for direction, found in directions.items():
            wall = found["wall_ms"]
            table.add_row(
                name,
                direction,
                *(f"{wall[p]:.1f}" for p in ("p50", "p95", "p99")),
                f"{found['cpu_ms']['p50']:.1f}",
                f"{wall['p50'] / FRAME_MS:.2f}",
                f"{found['gb_per_s']:.1f}" if "gb_per_s" in found else "",
            )
    return table


def draw_codec(path: str | Path, report: dict[str, Any]) -> None:
    """Bars of the median time per frame, whiskers to p95."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(report["contestants"])
    figure, axes = plt.subplots(figsize=(7.5, 0.8 + 0.55 * len(names)), layout="constrained")
    for i, direction in enumerate(DIRECTIONS):
        walls = [report["contestants"][name][direction]["wall_ms"] for name in names]
        medians = [wall["p50"] for wall in walls]
        rows = [row + 0.36 * (i - 0.5) for row in range(len(names))]
        spread = [[0.0] * len(names), [wall["p95"] - wall["p50"] for wall in walls]]
        axes.barh(rows, medians, 0.34, xerr=spread, color=_COLOURS[direction], label=direction)
        for row, wall in zip(rows, walls, strict=True):
            axes.text(wall["p95"] + 0.5, row, f"{wall['p50']:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("ms per frame of 80 ms, one thread (bar: median, line: to p95)")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
