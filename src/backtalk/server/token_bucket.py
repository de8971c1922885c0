"""How often something may happen: a burst at once, then a steady rate."""

from __future__ import annotations

from backtalk.stream.clock import now_s


class TokenBucket:
    """A budget that refills with time.

    Args:
        burst: what may be spent at once; the budget never grows beyond it.
        per_s: how fast it refills.
    """

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left = burst
        self._filled_at_s: float | None = None

    def spend(self, amount: float = 1.0) -> float:
        """Spend, even beyond what is left.

        Returns:
            Seconds to wait until the budget is no longer overdrawn, 0 if it is not.
        """
        self._left -= amount
        if self._left < 0.0 or self._filled_at_s is None:
            self._refill()  # only now does it matter how much time has passed
        return max(0.0, -self._left / self._per_s)

    def take(self, amount: float = 1.0) -> bool:
        """Spend only if there is enough left."""
        if not self.has(amount):
            return False
        self._left -= amount
        return True

    def has(self, amount: float = 1.0) -> bool:
        """Whether there is enough left."""
        self._refill()
        return self._left >= amount

    def _refill(self) -> None:
        now = now_s()
        if self._filled_at_s is not None:
            self._left = min(self._burst, self._left + (now - self._filled_at_s) * self._per_s)
        self._filled_at_s = now
