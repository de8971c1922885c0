"""What an operator watches, in Prometheus' form. The names are part of the interface.

No label carries a transcript or an id.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from backtalk.latency.record import STAGES, TurnLatency
from backtalk.stream.clock import now_s

TTFA_MS = (50, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1500, 2000, 3000, 5000)
STAGE_MS = (1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 800, 1200, 2000, 5000)
STEP_MS = (1, 2, 5, 10, 15, 20, 30, 40, 50, 60, 80, 120)
LAG_MS = (1, 2, 5, 10, 20, 50, 100, 500)
LAG_EVERY_S = 0.1


class Metrics:
    """One server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.sessions_active = self._gauge("sessions_active", "Sessions that hold a place.")
        self.sessions_total = self._counter("sessions", "Sessions that ended, by how.", "result")
        self.rejects_total = self._counter("rejects", "Clients turned away, by why.", "reason")
        self.resumed_total = self._counter("resumed", "Sessions whose client came back.")
        self.ttfa_ms = self._histogram(
            "ttfa_ms", "Last speech sample to first audible reply sample.", TTFA_MS, "system"
        )
        self.stage_ms = self._histogram(
            "stage_ms", "Stages of a turn.", STAGE_MS, "system", "stage"
        )
        self.barge_in_ms = self._histogram(
            "barge_in_ms", "First speech over a reply to its silence.", TTFA_MS
        )
        self.step_ms = self._histogram("step_ms", "Median step of a frame system.", STEP_MS)
        self.loop_lag_ms = self._histogram("loop_lag_ms", "Lateness of the event loop.", LAG_MS)
        self.inflight_audio_ms = self._gauge(
            "inflight_audio_ms", "Audio sent that clients have not been seen to receive."
        )
        self.underrun_total = self._counter("underrun", "Gaps in replies.")
        self.late_steps_total = self._counter("step_deadline_miss", "Steps longer than a frame.")
        self.overrun_frames_total = self._counter("overrun_frames", "Input frames dropped.")
        self.ws_close_total = self._counter("ws_close", "WebSockets closed, by code.", "code")
        self.protocol_errors_total = self._counter(
            "protocol_errors", "Errors told to clients, by kind.", "kind"
        )
        self._gauge("rss_bytes", "Resident memory.").set_function(_rss_bytes)
        self._gauge("open_fds", "Open files.").set_function(_open_fds)
        self._gauge("tasks", "Tasks on the event loop.").set_function(_tasks)

    def turn(self, system: str, latency: TurnLatency) -> None:
        """Count one measured turn of a system."""
        if latency.ttfa_ms is not None:
            self.ttfa_ms.labels(system).observe(latency.ttfa_ms)
        for stage in STAGES:
            if stage in latency.stages_ms:
                self.stage_ms.labels(system, stage).observe(latency.stages_ms[stage])
        if latency.barge_in_ms is not None:
            self.barge_in_ms.observe(latency.barge_in_ms)
        self.underrun_total.inc(latency.underruns)

    def render(self) -> bytes:
        """Everything, as text for Prometheus."""
        return generate_latest(self.registry)

    async def sample_loop_lag(self) -> None:
        """Measure how late the event loop wakes sleepers, until cancelled."""
        while True:
            due_s = now_s() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.loop_lag_ms.observe(1000.0 * max(0.0, now_s() - due_s))

    def _gauge(self, name: str, says: str) -> Gauge:
        return Gauge(f"backtalk_{name}", says, registry=self.registry)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"backtalk_{name}", says, labels, registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: tuple[int, ...], *labels: str) -> Histogram:
        return Histogram(f"backtalk_{name}", says, labels, registry=self.registry, buckets=buckets)


def _rss_bytes() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _open_fds() -> float:
    try:
        return float(len(os.listdir("/proc/self/fd")))
    except OSError:
        return float("nan")


def _tasks() -> float:
    try:
        return float(len(asyncio.all_tasks()))
    except RuntimeError:
        return float("nan")
