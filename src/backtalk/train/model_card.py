"""The card of a trained model, written from its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backtalk.train.loss_plot import PLOT
from backtalk.train.shipped_weights import WEIGHTS
from backtalk.train.training import RunSettings

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What the card tells.

    Attributes:
        data: what it learned from.
        seconds: that the steps took, resumed runs included.
        device: what it ran on, and in which precision.
        machine: from `describe_machine`.
        parameters: numbers in the weights file.
    """

    recipe: str
    summary: str
    settings: RunSettings
    data: str
    seconds: float
    device: str
    machine: Mapping[str, Any]
    parameters: int
    size_bytes: int
    scores: Mapping[str, float]


def write_card(folder: Path, run: FinishedRun) -> Path:
    """Write it into the folder of the run."""
    path = folder / CARD
    path.write_text(card_text(run), encoding="utf-8")
    return path


def card_text(run: FinishedRun) -> str:
    """The card in Markdown."""
    packages = ", ".join(
        f"{name} {run.machine['packages'][name]}"
        for name in ("backtalk", "torch", "numpy")
        if run.machine["packages"].get(name)
    )
    facts = {
        "weights": f"`{WEIGHTS}`, {run.parameters / 1e6:.2f} M numbers, "
        f"{run.size_bytes / 1e6:.2f} MB",
        "data": run.data,
        "steps": f"{run.settings.steps}",
        "time": f"{run.seconds / 3600:.2f} h ({run.settings.steps / max(run.seconds, 1e-9):.2f} "
        "steps/s)",
        "hardware": f"{run.device}; {run.machine['processor']}, {run.machine['cores']} cores, "
        f"{run.machine['memory_gib']} GiB",
        "software": f"Python {run.machine['python']}, {packages}",
    }
    lines = [
        f"# {run.recipe}",
        "",
        f"{run.summary} Trained by Backtalk:",
        "",
        f"    backtalk train {run.recipe} --data DATA --out DIR",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
        "## Scores on held-out data",
        "",
        "| score | value |",
        "|---|---|",
        *(f"| {name} | {value:.4g} |" for name, value in run.scores.items()),
        "",
        f"![losses]({PLOT})",
        "",
        "## Settings",
        "",
        "```yaml",
        *(f"{name}: {value}" for name, value in asdict(run.settings).items()),
        "```",
        "",
    ]
    return "\n".join(lines)
