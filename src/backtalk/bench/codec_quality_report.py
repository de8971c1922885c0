"""What a codec leaves of speech, as a table and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = {
    "wer_questions": ("WER % of questions", 100.0, ".1f"),
    "wer_answers": ("WER % of answers", 100.0, ".1f"),
    "dnsmos": ("DNSMOS", 1.0, ".2f"),
    "similarity": ("same voice", 1.0, ".2f"),
    "stoi": ("STOI", 1.0, ".3f"),
}


def quality_table(report: dict[str, Any]) -> Table:
    """The codec at each depth, then the recordings."""
    from rich.table import Table

    count = report["recordings"]["n"]
    table = Table(title=f"{count} held-out recordings (medians; word errors over all words)")
    for title in ("codebooks", "bit/s", *(title for title, _, _ in _COLUMNS.values())):
        table.add_column(title, justify="right")
    for row in [*report["rows"], {"depth": "recordings", "bits_per_s": "", **report["recordings"]}]:
        cells = [format(scale * row[name], form) for name, (_, scale, form) in _COLUMNS.items()]
        table.add_row(str(row["depth"]), str(row["bits_per_s"]), *cells)
    return table


def draw_quality(path: str | Path, report: dict[str, Any]) -> None:
    """Curves over the codebooks; dotted the recordings."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(_COLUMNS), figsize=(14, 3.4), layout="constrained")
    for axis, (name, (title, scale, _)) in zip(axes, _COLUMNS.items(), strict=True):
        depths = [row["depth"] for row in report["rows"]]
        axis.plot(depths, [scale * row[name] for row in report["rows"]], "-o", markersize=4)
        axis.axhline(scale * report["recordings"][name], color="#5a9e5a", linestyle=":")
        axis.set_xlabel("codebooks per frame")
        axis.set_title(title, fontsize=10)
        axis.grid(color="#e5e8eb", linewidth=0.6)
    axes[0].set_ylim(bottom=0)
    figure.suptitle(f"{report['codec']}; dotted: the recordings themselves", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)
