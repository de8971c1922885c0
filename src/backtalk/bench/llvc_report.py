"""The LLVC benchmark as JSON, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.bench.llvc import LlvcContestant
from backtalk.llvc.config import SAMPLE_RATE
from backtalk.machine import describe_machine, rss_mib

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = ("#3b82c4", "#4f9d69", "#b0b0b0", "#c98a3b")

PAPER = {
    "what": "arXiv 2311.00873, Intel i9-10850K, chunk of 13 ms",
    "e2e_ms": 19.7,
    "rtf": round(1 / 2.769, 3),
}
"""The paper prints audio over compute; this is compute over audio."""


def llvc_report(
    contestants: Sequence[LlvcContestant],
    weights: str,
    int8_snr_db: float,
    live: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that was found, ready for JSON.

    Args:
        contestants: measured.
        weights: whose weights, in words.
        int8_snr_db: the exact conversion over what 8 bits change of it, dB.
        live: what live sessions showed: `click`, `paced`, `streams`, each if measured.
    """
    rows = [contestant.as_dict(SAMPLE_RATE) for contestant in contestants]
    ours = [row for row in rows if row["name"].startswith("backtalk")]
    others = {row["chunk_factor"]: row for row in rows if row not in ours}
    for row in ours:
        other = others.get(row["chunk_factor"])
        if other is not None:
            times = other["wall_ms"]["p50"] / row["wall_ms"]["p50"]
            row["times_as_fast_as_authors"] = round(times, 2)
    return {
        "what": "one stream, one thread, time per step; speech",
        "weights": weights,
        "int8_snr_db": round(int8_snr_db, 1),
        "rows": rows,
        "live": live or {},
        "process_mib": round(rss_mib(), 1),
        "paper": PAPER,
        "machine": describe_machine(),
    }


def llvc_table(report: dict[str, Any]) -> Table:
    """A row per contestant and chunk factor; end to end by our count and by the paper's."""
    from rich.table import Table

    table = Table(title="LLVC, one stream, one thread", caption=f"ms per step; {report['weights']}")
    for title in ("", "n", "p50", "p95", "p99", "rtf", "e2e", "paper's", "faster"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for row in report["rows"]:
        wall, times = row["wall_ms"], row.get("times_as_fast_as_authors")
        table.add_row(
            row["name"],
            str(row["chunk_factor"]),
            *(f"{wall[p]:.2f}" for p in ("p50", "p95", "p99")),
            f"{row['rtf']:.3f}",
            f"{row['e2e_ms']:.1f}",
            f"{row['paper_e2e_ms']:.1f}",
            "" if times is None else f"{times:.1f}x",
        )
    return table


def live_in_words(live: dict[str, Any]) -> list[str]:
    """A line for each thing that was measured live."""
    lines = []
    if (click := live.get("click")) is not None and (own := click["own_ms"]) is not None:
        lines.append(
            f"a click in, a click out: {own['p50']:.1f} ms (p95 {own['p95']:.1f}, "
            f"p99 {own['p99']:.1f}; {own['n']} clicks)"
        )
    elif click is not None and click["dropped_chunks"]:
        lines.append(
            f"no click was timed: {click['dropped_chunks']} chunks were left out; measure on a "
            "machine with less load"
        )
    if (paced := live.get("paced")) is not None:
        chunk, rss = paced["chunk_ms"], paced["rss_mib"]
        missed = f"{paced['missed_chunks']} of {paced['chunks']} chunks missed"
        lines.append(
            f"paced for {paced['minutes']:g} min: {missed}, p50 {chunk['p50']:.1f} ms, "
            f"p99 {chunk['p99']:.1f}, max {chunk['max']:.1f}; "
            f"memory {rss[0]:.0f} to {rss[1]:.0f} MiB"
        )
    for weight_format, count in live.get("streams", {}).items():
        lines.append(f"{weight_format}: {count['keeps_up']} streams keep up on one core")
    return lines


def draw_llvc(path: str | Path, report: dict[str, Any]) -> None:
    """Median step by chunk factor, a line to p99."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = report["rows"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    factors = sorted({row["chunk_factor"] for row in rows})
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        mine = [row for row in rows if row["name"] == name]
        at = [factors.index(row["chunk_factor"]) + (i + 0.5) * width - 0.4 for row in mine]
        medians = [row["wall_ms"]["p50"] for row in mine]
        above = [row["wall_ms"]["p99"] - row["wall_ms"]["p50"] for row in mine]
        colour = _COLOURS[i % len(_COLOURS)]
        axes.bar(at, medians, width, yerr=[[0.0] * len(mine), above], color=colour, label=name)
        for x, median in zip(at, medians, strict=True):
            axes.text(x, median, f"{median:.2f}", ha="center", va="bottom", fontsize=8)
    chunk_ms = {row["chunk_factor"]: row["chunk_ms"] for row in rows}
    axes.set_xticks(range(len(factors)), [f"{n} ({chunk_ms[n]:g} ms)" for n in factors])
    axes.set_xlabel("chunks per step (sound per step)")
    axes.set_ylabel("ms per step (bar: median, line: to p99)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
