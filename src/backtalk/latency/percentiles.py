"""p50, p95, p99 and how many: never a bare mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of one figure over many turns, in the figure's unit.

    Attributes:
        n: how many values.
    """

    n: int
    p50: float
    p95: float
    p99: float
    max: float

    def as_dict(self, digits: int = 1) -> dict[str, float]:
        """For JSON."""
        return {name: round(value, digits) for name, value in asdict(self).items()}


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """Percentiles by linear interpolation; None if there are no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p95, p99 = (_quantile(ordered, q) for q in (0.5, 0.95, 0.99))
    return Percentiles(len(ordered), p50, p95, p99, ordered[-1])


def _quantile(ordered: list[float], q: float) -> float:
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
