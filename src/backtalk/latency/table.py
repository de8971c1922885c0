"""Latency as text: one row per turn, and percentiles per stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from backtalk.latency.percentiles import Percentiles, percentiles
from backtalk.latency.record import STAGES

SHORT_NAMES = {
    "end_of_turn_wait": "wait",
    "asr": "asr",
    "llm_first_token": "llm",
    "first_chunk": "chunk",
    "tts_first_audio": "tts",
    "voice_conversion": "voice",
    "hold": "hold",
    "leading_silence": "lead",
    "transport": "transport",
}


def stage_percentiles(
    turns: Sequence[Mapping[str, float]], ttfa_ms: Sequence[float]
) -> dict[str, Percentiles]:
    """Percentiles of every stage that occurs, and of their sum under `ttfa`.

    Percentiles of stages do not add up to the percentile of the sum; single turns do.
    """
    found: dict[str, Percentiles] = {}
    for stage in STAGES:
        stats = percentiles(turn[stage] for turn in turns if stage in turn)
        if stats is not None:
            found[stage] = stats
    total = percentiles(ttfa_ms)
    if total is not None:
        found["ttfa"] = total
    return found


def turns_table(rows: Sequence[tuple[str, Mapping[str, float], float | None, str]]) -> Table:
    """One row per turn.

    Args:
        rows: name, stages in ms, time to first audio in ms, remark.
    """
    stages = [s for s in STAGES if any(s in row[1] for row in rows)]
    table = Table(title="From the last speech sample to the first audible reply sample, ms")
    table.add_column("turn")
    for stage in stages:
        table.add_column(SHORT_NAMES[stage], justify="right")
    table.add_column("first audio", justify="right", style="bold")
    table.add_column("", style="dim")
    for name, values, ttfa_ms, remark in rows:
        cells = [f"{values[s]:.0f}" if s in values else "" for s in stages]
        table.add_row(name, *cells, f"{ttfa_ms:.0f}" if ttfa_ms is not None else "-", remark)
    return table


def percentile_table(stats: Mapping[str, Mapping[str, Percentiles]], title: str) -> Table:
    """Percentiles of every stage, one column per variant.

    Args:
        stats: per variant, per stage.
        title: above the table.
    """
    table = Table(title=title)
    table.add_column("p50 / p95 / p99 ms")
    for variant in stats:
        table.add_column(variant, justify="right")
    for stage in (*STAGES, "ttfa"):
        if any(stage in of for of in stats.values()):
            cells = []
            for of in stats.values():
                p = of.get(stage)
                cells.append(f"{p.p50:.0f} / {p.p95:.0f} / {p.p99:.0f}" if p else "-")
            name = "first audio" if stage == "ttfa" else stage.replace("_", " ")
            table.add_row(name, *cells, style="bold" if stage == "ttfa" else None)
    counts = [of["ttfa"].n if "ttfa" in of else 0 for of in stats.values()]
    table.add_row("turns", *(str(n) for n in counts), style="dim")
    return table
