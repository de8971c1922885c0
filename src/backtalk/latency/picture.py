"""Latency as pictures: the time line of a conversation, and the waterfall of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.latency.percentiles import percentiles
from backtalk.latency.record import STAGES

COLOURS = {
    "end_of_turn_wait": "#9aa5b1",
    "asr": "#3b82c4",
    "llm_first_token": "#d97a2b",
    "first_chunk": "#e6b450",
    "tts_first_audio": "#4f9d69",
    "voice_conversion": "#3aa6a0",
    "hold": "#c9d1da",
    "leading_silence": "#8f6bb3",
    "transport": "#b3576b",
}
USER_COLOUR, AGENT_COLOUR = "#3b82c4", "#4f9d69"


@dataclass(frozen=True, slots=True)
class TurnPicture:
    """What is drawn of one turn.

    Attributes:
        label: short name of the turn.
        stages_ms: additive stages.
        zero_s: end of the user's speech in the recording, seconds.
        words: what was said, drawn beside it.
    """

    label: str
    stages_ms: Mapping[str, float]
    zero_s: float | None = None
    words: str = ""
    remark: str = field(default="")


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def draw_conversation(
    path: str | Path,
    user: np.ndarray,
    agent: np.ndarray,
    sample_rate: int,
    turns: Sequence[TurnPicture],
    title: str,
) -> None:
    """Draw both voices on the true time line and each turn's waterfall below.

    Args:
        path: PNG to write.
        user, agent: float32 [T] at `sample_rate`.
    """
    plt = _pyplot()
    rows = max(1, len(turns))
    figure, (line, fall) = plt.subplots(
        2, 1, figsize=(13, 3.6 + 0.45 * rows), height_ratios=[4, 1.2 + rows], layout="constrained"
    )
    seconds = np.arange(0, len(user), max(1, sample_rate // 200)) / sample_rate
    for pcm, offset, colour, name in (
        (user, 1.0, USER_COLOUR, "user"),
        (agent, -1.0, AGENT_COLOUR, "agent"),
    ):
        level = _envelope(pcm, len(seconds))
        line.fill_between(seconds, offset - level, offset + level, color=colour, label=name, lw=0)
    for turn in turns:
        if turn.zero_s is None or not turn.stages_ms:
            continue
        end_s = turn.zero_s + sum(turn.stages_ms.values()) / 1000
        line.axvspan(turn.zero_s, end_s, color="#d97a2b", alpha=0.25, lw=0)
        line.annotate(
            f"{sum(turn.stages_ms.values()):.0f} ms",
            (end_s, 0),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    line.set(ylim=(-2.1, 2.1), xlim=(0, max(seconds, default=1.0)), xlabel="seconds")
    line.set_yticks([-1, 1], ["agent", "user"])
    line.set_title(title, loc="left", fontsize=11)
    _draw_waterfall(fall, turns)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _envelope(pcm: np.ndarray, points: int) -> np.ndarray:
    if not points or not len(pcm):
        return np.zeros(points)
    size = -(-len(pcm) // points)
    padded = np.pad(np.abs(pcm), (0, size * points - len(pcm)))
    peaks = padded.reshape(points, size).max(axis=1)
    return peaks / max(1e-3, float(peaks.max())) * 0.95


def _draw_waterfall(axes: Any, turns: Sequence[TurnPicture]) -> None:
    labels = [f"{turn.label} {turn.remark}".strip() for turn in turns]
    for row, turn in enumerate(turns):
        at = 0.0
        for stage in STAGES:
            ms = turn.stages_ms.get(stage, 0.0)
            if ms:
                axes.barh(row, ms, left=at, color=COLOURS[stage], height=0.62)
                at += ms
        axes.text(at + 6, row, f"{at:.0f} ms   {turn.words}"[:110], va="center", fontsize=8)
    axes.set_yticks(range(len(turns)), labels)
    axes.invert_yaxis()
    widest = max((sum(turn.stages_ms.values()) for turn in turns), default=1.0)
    axes.set(xlim=(0, max(1.0, widest) * 1.9), xlabel="ms after the last speech sample")
    used = [s for s in STAGES if any(t.stages_ms.get(s) for t in turns)]
    handles = [axes.barh(0, 0, color=COLOURS[s], label=s.replace("_", " ")) for s in used]
    if handles:
        axes.figure.legend(
            handles=handles, fontsize=8, ncols=len(used), loc="outside lower center", frameon=False
        )


def draw_percentiles(
    path: str | Path,
    variants: Mapping[str, Sequence[tuple[Mapping[str, float], float]]],
    title: str,
) -> None:
    """Draw the median turn of each variant as a waterfall, and the distribution of all turns.

    Args:
        path: PNG to write.
        variants: per variant, each turn's stages and time to first audio, ms.
    """
    plt = _pyplot()
    figure, (fall, curve) = plt.subplots(
        1,
        2,
        figsize=(14, 2.8 + 0.5 * len(variants)),
        width_ratios=[3, 2],
        layout="constrained",
    )
    rows = []
    for name, turns in variants.items():
        if not turns:
            continue
        middle = sorted(turns, key=lambda turn: turn[1])[len(turns) // 2]
        stats = percentiles(ttfa for _, ttfa in turns)
        assert stats is not None
        rows.append(TurnPicture(name, middle[0], words=f"(median of {stats.n} turns)"))
        ordered = sorted(ttfa for _, ttfa in turns)
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        label = f"{name}: p50 {stats.p50:.0f}, p95 {stats.p95:.0f} ms"
        curve.step(ordered, share, where="post", label=label)
    _draw_waterfall(fall, rows)
    fall.set_title(title, loc="left", fontsize=11)
    curve.set(xlabel="time to first audio, ms", ylabel="share of turns", ylim=(0, 1.02))
    curve.grid(alpha=0.3)
    curve.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
