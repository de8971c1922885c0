"""What a load run says: figures, each against its limit, and a picture."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.bench.load import LoadRun
from backtalk.machine import describe_machine

QUANTILES = {"p50": 50.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
LATENCY_LIMITS_MS = {
    64: {"p50": 2.0, "p99": 15.0, "p99_9": 30.0, "max": 100.0},
    200: {"p50": 5.0, "p99": 30.0, "p99_9": 60.0, "max": 200.0},
}
"""Latency a server may add to a frame, by sessions at once."""
LOOP_LAG_P99_MS = {64: 10.0, 200: 20.0}
READY_P99_MS = 100.0
REFUSED_P99_MS = 50.0
SETTLED_MS = 250.0
CHURN_GROWTH_MIB = 20.0
BUSY_LOAD, BUSY_STOLEN_SHARE = 4.0, 0.02
"""Load average, or processor time denied to a virtual machine, above which a machine counts as
busy, and may take twice as long."""
HISTOGRAM_EDGES_MS = [round(0.1 * 10 ** (n / 10), 4) for n in range(51)]


@dataclass(frozen=True, slots=True)
class Check:
    """One figure against its limit; `ok` if it is not above it."""

    name: str
    value: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit


def quantiles(values: array[float]) -> dict[str, float] | None:
    """How many, p50, p99, p99.9 and the largest; None of nothing."""
    if not values:
        return None
    found = np.percentile(np.asarray(values), list(QUANTILES.values()))
    return {"n": len(values)} | {
        name: round(float(value), 2) for name, value in zip(QUANTILES, found, strict=True)
    }


def load_report(run: LoadRun) -> dict[str, Any]:
    """One object for JSON: the plan, what came of it, and which limits were kept."""
    plan, tally = run.plan, run.tally
    target = asdict(plan.target) | {"token": None}
    counts, _ = np.histogram(np.asarray(tally.latency_ms), [0, *HISTOGRAM_EDGES_MS, np.inf])
    cpu_s = run.watch.cpu_s()
    received = tally.counts.received + run.slow.counts.received
    checks = list(_checks(run))
    return {
        "bench": "load",
        "plan": asdict(plan) | {"target": target},
        "machine": describe_machine(),
        "is_busy": _is_busy(run),
        "stolen_percent": None if run.stolen_share is None else round(100 * run.stolen_share, 1),
        "frames": asdict(tally.counts),
        "latency_ms": quantiles(tally.latency_ms),
        "client_late_ms": quantiles(tally.late_ms),
        "connects": {
            "accepted": len(tally.ready_ms) + len(run.slow.ready_ms),
            "refused": dict(tally.refusals + run.slow.refusals),
            "ready_ms": quantiles(tally.ready_ms),
            "refused_ms": quantiles(tally.refused_ms),
        },
        "calm_latency_ms": quantiles(run.calm.latency_ms),
        "slow_readers": {
            "frames": asdict(run.slow.counts),
            "held_ms": [round(ms, 1) for ms in run.held_ms],
            "settled_ms": [round(ms, 1) for ms in run.settled_ms],
        }
        if plan.slow_readers
        else None,
        "closes": dict(tally.closes + run.slow.closes),
        "errors": dict(tally.errors + run.slow.errors),
        "server": {
            "memory": run.watch.memory(),
            "loop_lag_p99_ms": _finite(run.watch.loop_lag_p99_ms()),
            "cpu_us_per_frame": round(1e6 * cpu_s / received, 1) if cpu_s and received else None,
            "samples": run.watch.samples,
        },
        "histogram": {"edges_ms": HISTOGRAM_EDGES_MS, "counts": counts.tolist()},
        "checks": [asdict(check) | {"ok": check.ok} for check in checks],
        "passed": all(check.ok for check in checks),
    }


def _is_busy(run: LoadRun) -> bool:
    return run.load_average > BUSY_LOAD or (run.stolen_share or 0.0) > BUSY_STOLEN_SHARE


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _checks(run: LoadRun) -> Iterator[Check]:
    plan, tally = run.plan, run.tally
    size = 64 if plan.sessions <= 64 else 200
    patience = 2.0 if _is_busy(run) else 1.0
    for name in ("lost", "reordered", "duplicated", "crossed", "damaged"):
        yield Check(name, getattr(tally.counts, name), 0)
    yield Check("error events", tally.errors.total(), tally.refusals.total())
    if plan.profile != "storm":
        wanted = plan.connects if plan.profile == "churn" else plan.sessions
        accepted = len(tally.ready_ms) + len(run.slow.ready_ms)
        yield Check("sessions refused or failed", wanted - accepted, 0)
    latency = quantiles(tally.latency_ms)
    if latency is not None and plan.profile == "steady":
        for name, limit in LATENCY_LIMITS_MS[size].items():
            yield Check(f"latency {name} ms", latency[name], patience * limit)
    yield from _connect_checks(run, patience)
    lag_ms = run.watch.loop_lag_p99_ms()
    if lag_ms is not None and plan.profile == "steady":
        yield Check("loop lag p99 ms", lag_ms, patience * LOOP_LAG_P99_MS[size])
    memory = run.watch.memory()
    if memory is not None:
        limit_mib = CHURN_GROWTH_MIB if plan.profile == "churn" else memory["allowed_mib"]
        yield Check("memory growth MiB", memory["growth_mib"], limit_mib)
    active = [s["sessions_active"] for s in run.watch.samples if "sessions_active" in s]
    if active:
        yield Check("sessions left on the server", active[-1], min(active[0], plan.sessions))
    for settled_ms in run.settled_ms:
        yield Check("slow reader back at the live edge ms", settled_ms, SETTLED_MS)


def _connect_checks(run: LoadRun, patience: float) -> Iterator[Check]:
    profile = run.plan.profile
    ready, refused = quantiles(run.tally.ready_ms), quantiles(run.tally.refused_ms)
    if profile == "churn" and ready is not None:
        yield Check("connect to ready p99 ms", ready["p99"], patience * READY_P99_MS)
    if profile == "storm" and refused is not None:
        yield Check("connect to refusal p99 ms", refused["p99"], patience * REFUSED_P99_MS)
    calm = quantiles(run.calm.latency_ms)
    if profile == "storm" and calm is not None:
        stormy = run.tally.latency_ms[: -len(run.calm.latency_ms)]
        during = quantiles(stormy)
        if during is not None:
            # Below a few milliseconds a fifth is less than the noise of a timer.
            yield Check("latency p99 ms in the storm", during["p99"], max(1.2 * calm["p99"], 15.0))


def draw_load(path: Path, report: dict[str, Any]) -> None:
    """Draw the latency histogram and, if the server tells, its memory and sessions over time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (latency, memory) = plt.subplots(1, 2, figsize=(13, 4.2), layout="constrained")
    edges, counts = report["histogram"]["edges_ms"], report["histogram"]["counts"]
    lefts = [edges[0] / 1.26, *edges]
    widths = [right - left for left, right in zip(lefts, [*edges, edges[-1] * 1.26], strict=True)]
    latency.bar(lefts, counts, widths, align="edge", color="#3b82c4", lw=0)
    latency.set(xscale="log", yscale="log", xlabel="added to a frame, ms", ylabel="frames")
    found = report["latency_ms"]
    if found is not None:
        for name, style in (("p50", ":"), ("p99", "--"), ("p99_9", "-.")):
            label = f"{name.replace('_', '.')} {found[name]:.1f} ms"
            latency.axvline(found[name], color="#d97a2b", ls=style, label=label)
        latency.legend(fontsize=8, frameon=False)
    plan = report["plan"]
    latency.set_title(
        f"{plan['profile']}: {report['frames']['sent']:,} frames, "
        f"{report['connects']['accepted']:,} sessions",
        loc="left",
        fontsize=11,
    )
    _draw_memory(memory, report["server"]["samples"])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_memory(axes: Any, samples: list[dict[str, float]]) -> None:
    points = [(s["at_s"], s["rss_bytes"] / 2**20) for s in samples if "rss_bytes" in s]
    if not points:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "the server does not tell its memory", ha="center")
        return
    axes.plot(*zip(*points, strict=True), color="#4f9d69", label="memory")
    axes.set(xlabel="seconds", ylabel="MiB", ylim=(0, 1.2 * max(mib for _, mib in points)))
    axes.set_title("the server's memory and sessions", loc="left", fontsize=11)
    active = [(s["at_s"], s["sessions_active"]) for s in samples if "sessions_active" in s]
    if active:
        sessions = axes.twinx()
        sessions.plot(*zip(*active, strict=True), color="#9aa5b1", lw=1, label="sessions")
        sessions.set(ylabel="sessions", ylim=(0, 1.2 * max(1.0, *(n for _, n in active))))
