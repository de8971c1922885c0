"""Units without repetition, and how often each was repeated."""

from __future__ import annotations

import numpy as np


def to_runs(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join equal neighbours.

    Args:
        units: integers [T].
    Returns:
        The units of the runs, and their lengths, at least 1: int64 [R] each.
    """
    units = np.asarray(units, np.int64)
    begins = np.flatnonzero(np.diff(units, prepend=-1))
    return units[begins], np.diff(begins, append=len(units))


def from_runs(units: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The inverse of `to_runs`."""
    return np.repeat(units, lengths)
