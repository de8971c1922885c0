"""Speed and quality by depth as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_QUALITY = {
    "wer": ("WER %", 100.0, ".1f"),
    "dnsmos": ("DNSMOS", 1.0, ".2f"),
    "similarity": ("voice", 1.0, ".2f"),
    "wada_snr_db": ("WADA dB", 1.0, ".1f"),
    "seconds": ("seconds", 1.0, ".2f"),
}
_SPEED = {"first_chunk_ms": ("first chunk ms", 1.0, ".0f"), "rtf": ("rtf", 1.0, ".3f")}
_DRAWN = ("wer", "dnsmos", "similarity", "wada_snr_db")
_PICTURES = {**{name: _QUALITY[name] for name in _DRAWN}, **_SPEED}


def quality_report(
    rows: Sequence[dict[str, Any]], codec: Sequence[dict[str, Any]], recordings: dict[str, Any]
) -> dict[str, Any]:
    """What is added to `rvq_report`'s table, for JSON.

    Args:
        rows: of `quality_row`, by depth.
        codec: the same of the recordings through the codec alone.
        recordings: the same of the recordings themselves.
    """
    return {"quality": list(rows), "codec": list(codec), "recordings": recordings}


def quality_table(report: dict[str, Any]) -> Table:
    """The voice at each depth, then the codec alone, then the recordings."""
    from rich.table import Table

    sentences = report["recordings"]["n"]
    table = Table(title=f"{sentences} held-out sentences (medians; word errors over all words)")
    table.add_column("what", no_wrap=True)
    table.add_column("N", justify="right")
    for title, _, _ in (*_QUALITY.values(), *_SPEED.values()):
        table.add_column(title, justify="right")
    speed = {row["depth"]: row for row in report["rows"]}
    for what, row in [
        *(("voice", row) for row in report["quality"]),
        *(("codec alone", row) for row in report["codec"]),
        ("recordings", report["recordings"]),
    ]:
        timed = speed[row["depth"]] if what == "voice" else {}
        cells = [_cell(row, name, scale, form) for name, (_, scale, form) in _QUALITY.items()]
        cells += [_cell(timed, name, scale, form) for name, (_, scale, form) in _SPEED.items()]
        table.add_row(what, str(row["depth"]), *cells)
    return table


def draw_quality(path: str | Path, report: dict[str, Any]) -> None:
    """Curves over depth; dashed the codec alone, dotted the recordings, grey `auto`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(_PICTURES), figsize=(19, 3.6), layout="constrained")
    for axis, (name, (title, scale, _)) in zip(axes, _PICTURES.items(), strict=True):
        rows = report["quality"] if name in _QUALITY else report["rows"]
        _curve(axis, rows, name, scale, "-o", "#3b82c4", "voice")
        if name in _QUALITY:
            _curve(axis, report["codec"], name, scale, "--", "#e08a3c", "codec alone")
            level = report["recordings"][name]
            if level is not None:
                axis.axhline(scale * level, color="#5a9e5a", linestyle=":", label="recordings")
        for row in rows:
            if row["depth"] == "auto" and row[name] is not None:
                axis.axhline(scale * row[name], color="0.6", label="depth follows buffer")
        axis.set_xlabel("codebooks per frame")
        axis.set_title(title, fontsize=10)
        axis.grid(color="#e5e8eb", linewidth=0.6)
        if name in ("wer", *_SPEED):
            axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    if report["note"]:
        figure.suptitle(report["note"], fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _curve(
    axis: Any,
    rows: Sequence[dict[str, Any]],
    name: str,
    scale: float,
    style: str,
    color: str,
    label: str,
) -> None:
    points = sorted(
        (row["depth"], scale * row[name])
        for row in rows
        if row["depth"] != "auto" and row[name] is not None
    )
    if points:
        axis.plot(*zip(*points, strict=True), style, color=color, label=label, markersize=4)


def _cell(row: dict[str, Any], name: str, scale: float, form: str) -> str:
    value = row.get(name)
    return "" if value is None else format(scale * value, form)
