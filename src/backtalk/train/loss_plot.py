"""The curves of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PLOT = "losses.png"
_COLUMNS = 3
_SMOOTHED_OVER = 50
"""A curve is averaged over about this part of its points."""


def draw_losses(folder: Path, lines: Sequence[dict[str, Any]], title: str) -> Path:
    """Draw every scalar of the lines over the steps, each beside the others.

    Args:
        folder: the picture is written into it.
        lines: as `losses_file.read_losses` gives them.
    Returns:
        The picture's path.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    names = list(dict.fromkeys(name for line in lines for name in line if name != "step"))
    rows = max(1, -(-len(names) // _COLUMNS))
    figure, axes = plt.subplots(
        rows, _COLUMNS, figsize=(12, 2.4 * rows), squeeze=False, layout="constrained"
    )
    for name, axis in zip(names, axes.flat, strict=False):
        points = [(line["step"], line[name]) for line in lines if name in line]
        steps, values = (np.array(column, float) for column in zip(*points, strict=True))
        axis.plot(steps, values, color="#9aa5b1", linewidth=0.6)
        width = len(values) // _SMOOTHED_OVER
        if width > 1:
            smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
            axis.plot(steps[width - 1 :], smooth, color="#3b82c4", linewidth=1.4)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(color="#e5e8eb", linewidth=0.6)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=10)
    path = folder / PLOT
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
