"""How well units tell phones apart: the measures of HuBERT (arXiv 2106.07447, section IV-A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Purity:
    """Over frames that have a unit and a phone.

    Attributes:
        phone: share of the frames whose phone is the most frequent one of their unit.
        shared: information that units give about phones, of all there is to know (0..1), which more
            units do not raise by themselves as much.
    """

    phone: float
    shared: float


def purity(units: np.ndarray, labels: Sequence[str]) -> Purity:
    """Of frames.

    Args:
        units: integers [N].
        labels: N, at least two of them different.
    """
    names = {label: number for number, label in enumerate(sorted(set(labels)))}
    phones = np.array([names[label] for label in labels])
    together = np.zeros((int(units.max()) + 1, len(names)))
    np.add.at(together, (units, phones), 1.0)
    together /= together.sum()
    both = _entropy(together)
    of_phones = _entropy(together.sum(0))
    shared = _entropy(together.sum(1)) + of_phones - both
    return Purity(float(together.max(1).sum()), shared / of_phones)


def _entropy(shares: np.ndarray) -> float:
    kept = shares[shares > 0]
    return float(-(kept * np.log(kept)).sum())
