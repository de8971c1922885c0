"""What a Backtalk server says of itself while it is measured: memory, files, sessions, lag."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

EVERY_S = 1.0
WATCHED = ("rss_bytes", "open_fds", "tasks", "sessions_active")
CPU_SECONDS = ("backtalk_cpu_seconds_total", "process_cpu_seconds_total")
FLAT_MIB = 8.0
SETTLED_AFTER = 1 / 3
"""Share of the run after which memory should no longer grow."""


@dataclass(slots=True)
class ServerWatch:
    """Reads GET /metrics once a second; any server without it is simply not watched.

    Attributes:
        samples: per reading, seconds since the start and the values of `WATCHED` that were there.
    """

    url: str
    token: str | None = None
    samples: list[dict[str, float]] = field(default_factory=list)
    _first: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None
    _began_s: float = 0.0

    async def __aenter__(self) -> ServerWatch:
        self._began_s = asyncio.get_running_loop().time()
        http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {}, timeout=2.0
        )
        if await self._read(http):
            self._task = asyncio.create_task(self._watch(http))
        else:
            await http.aclose()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self, http: httpx.AsyncClient) -> None:
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                await self._read(http)
        finally:
            await http.aclose()

    async def _read(self, http: httpx.AsyncClient) -> bool:
        parts = urlsplit(self.url)
        scheme = "https" if parts.scheme == "wss" else "http"
        try:
            answer = await http.get(f"{scheme}://{parts.netloc}/metrics")
        except httpx.HTTPError:
            return False
        if answer.status_code != 200:
            return False
        self._take(asyncio.get_running_loop().time() - self._began_s, parse_metrics(answer.text))
        return True

    def _take(self, at_s: float, metrics: dict[str, float]) -> None:
        self._first = self._first or metrics
        self._last = metrics
        found = {name: metrics.get(f"backtalk_{name}") for name in WATCHED}
        sample = {"at_s": round(at_s, 2)}
        sample.update({name: value for name, value in found.items() if value is not None})
        self.samples.append(sample)

    def cpu_s(self) -> float | None:
        """Processor seconds the server used between the first and the last reading."""
        for name in CPU_SECONDS:
            if name in self._first and name in self._last:
                return self._last[name] - self._first[name]
        return None

    def loop_lag_p99_ms(self) -> float | None:
        """99th percentile of the server's event loop lag, upper edge of its histogram bucket."""
        prefix = 'backtalk_loop_lag_ms_bucket{le="'
        grown = {
            float(name[len(prefix) :].rstrip('"}')): count - self._first.get(name, 0.0)
            for name, count in self._last.items()
            if name.startswith(prefix)
        }
        edges = sorted(grown)
        if not edges or not grown[edges[-1]]:
            return self._last.get("backtalk_loop_lag_ms")
        return next(edge for edge in edges if grown[edge] >= 0.99 * grown[edges[-1]])

    def memory(self) -> dict[str, Any] | None:
        """Whether memory grew after the run had settled, by a straight line through it."""
        points = [(s["at_s"], s["rss_bytes"] / 2**20) for s in self.samples if "rss_bytes" in s]
        return memory_growth(points)


def memory_growth(points: list[tuple[float, float]]) -> dict[str, Any] | None:
    """Fit a line to memory over time, the first third left out.

    Args:
        points: seconds and MiB.
    Returns:
        First, last and largest MiB, slope in MiB/h, growth in MiB along the line, and whether that
        is at most `FLAT_MIB`. None if there are too few points to tell.
    """
    if len(points) < 6:
        return None
    settled_s = points[0][0] + SETTLED_AFTER * (points[-1][0] - points[0][0])
    settled = [point for point in points if point[0] >= settled_s]
    mean_s = sum(at_s for at_s, _ in settled) / len(settled)
    mean_mib = sum(mib for _, mib in settled) / len(settled)
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in settled)
    slope = sum((at_s - mean_s) * (mib - mean_mib) for at_s, mib in settled) / spread
    growth_mib = slope * (settled[-1][0] - settled[0][0])
    return {
        "first_mib": round(points[0][1], 1),
        "last_mib": round(points[-1][1], 1),
        "max_mib": round(max(mib for _, mib in points), 1),
        "slope_mib_per_h": round(3600.0 * slope, 1),
        "growth_mib": round(growth_mib, 2),
        "allowed_mib": FLAT_MIB,
        "is_flat": growth_mib <= FLAT_MIB,
    }


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus text format: every sample's name with its labels, and its value."""
    metrics = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            try:
                metrics[name] = float(value)
            except ValueError:
                continue
    return metrics
