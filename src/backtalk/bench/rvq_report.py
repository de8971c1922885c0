"""The figures of `bench rvq` as a table and a picture, beside those of the paper."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.bench.rvq import PAPER

if TYPE_CHECKING:
    from rich.table import Table

RANDOM_NOTE = "random weights: times are real, the sound and its WADA-SNR mean nothing"

_COLUMNS = {
    "first_chunk_ms": ("first chunk ms", ".0f"),
    "rtf": ("rtf", ".3f"),
    "chunk_ms_mean": ("chunk ms", ".0f"),
    "inter_chunk_ms_mean": ("gap mean", ".0f"),
    "inter_chunk_ms_p95": ("p95", ".0f"),
    "inter_chunk_ms_max": ("max", ".0f"),
    "underruns": ("underruns", "d"),
    "wada_snr_db": ("WADA dB", ".1f"),
}


def rvq_report(
    rows: list[dict[str, Any]],
    *,
    device: str,
    weights: str,
    is_random: bool,
    machine: dict[str, Any],
) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "device": device,
        "weights": weights,
        "note": RANDOM_NOTE if is_random else "",
        "rows": rows,
        "paper": [asdict(row) for row in PAPER],
        "paper_note": "i-LAVA, arXiv 2509.20971, tables IV and V: pieces of 20 frames, single runs",
        "machine": machine,
    }


def rvq_table(report: dict[str, Any]) -> Table:
    """Ours, then the paper's."""
    from rich.table import Table

    table = Table(title="CSM by codebooks per frame", caption=report["note"] or None)
    table.add_column("device")
    table.add_column("N", justify="right")
    for title, _ in _COLUMNS.values():
        table.add_column(title, justify="right")
    name = f"{report['device']}, {report['weights']}"
    for where, row in [
        *((name, row) for row in report["rows"]),
        *((f"paper, {row['device']}", row) for row in report["paper"]),
    ]:
        cells = [
            format(row[key], form) if key in row else "" for key, (_, form) in _COLUMNS.items()
        ]
        table.add_row(where, str(row["depth"]), *cells)
    return table


def draw_rvq(path: str | Path, report: dict[str, Any]) -> None:
    """First chunk and real-time factor against depth, beside the paper's."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    fixed = [row for row in report["rows"] if row["depth"] != "auto"]
    curves = {f"{report['device']}, {report['weights']}": fixed}
    for row in report["paper"]:
        curves.setdefault(f"paper, {row['device']}", []).append(row)
    for axis, key, title in (
        (axes[0], "first_chunk_ms", "first chunk, ms"),
        (axes[1], "rtf", "real-time factor (below 1 keeps up)"),
    ):
        for name, rows in curves.items():
            ordered = sorted(rows, key=lambda row: row["depth"])
            style = "--" if name.startswith("paper") else "-"
            axis.plot(
                [row["depth"] for row in ordered],
                [row[key] for row in ordered],
                style,
                marker="o",
                label=name,
            )
        for row in report["rows"]:
            if row["depth"] == "auto":
                axis.axhline(row[key], color="0.5", linestyle=":", label="depth follows buffer")
        axis.set_xlabel("codebooks per frame")
        axis.set_title(title)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
    if report["note"]:
        figure.suptitle(report["note"], fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)
