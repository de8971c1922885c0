"""The committed load test: `python benchmarks/run_load.py` writes results/load*.{json,png}.

Starts `backtalk serve --system echo` and puts `backtalk bench load` on it, each in a process of its
own, once for each run of `RUNS`: sessions that stay, a storm, churn, readers that stop reading,
clients that vanish. The last run is on a server whose system leaks memory on purpose: there the
memory check has to fail, or it proves nothing in the others.

All of it takes about 20 minutes; `--short` about three.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent
STARTS_WITHIN_S = 60.0
LEAKED_BYTES_PER_STEP = 2000


@dataclass(frozen=True)
class Run:
    """One load.

    Attributes:
        options: of `backtalk bench load`.
        short: what differs with `--short`.
        sessions: that the server takes.
        is_leaking: whether its system leaks, so that the memory check must fail.
    """

    options: dict[str, str]
    short: dict[str, str]
    sessions: int = 64
    is_leaking: bool = False


RUNS = {
    "steady-64": Run({"sessions": "64", "seconds": "600"}, {"seconds": "25"}),
    "steady-200": Run(
        {"sessions": "200", "seconds": "120", "frame-ms": "80"}, {"seconds": "15"}, sessions=200
    ),
    "slow-readers": Run(
        {"sessions": "32", "seconds": "60", "slow-readers": "8"}, {"seconds": "25"}
    ),
    "killed-clients": Run({"sessions": "64", "seconds": "60", "kill": "32"}, {"seconds": "15"}),
    "storm": Run({"profile": "storm", "seconds": "30"}, {"connects": "200", "seconds": "12"}),
    "churn": Run({"profile": "churn", "connects": "10000"}, {"connects": "300"}),
    "leak": Run({"sessions": "32", "seconds": "30"}, {"seconds": "25"}, is_leaking=True),
}


@contextmanager
def server(run: Run) -> Iterator[str]:
    """A server for one run; yields its URL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    if run.is_leaking:
        command = [sys.executable, __file__, "--serve-leaking", str(port)]
    else:
        command = [sys.executable, "-m", "backtalk", "serve", "--system", "echo"]
        command += ["--port", str(port), "--sessions", str(run.sessions)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(process, port)
        yield f"ws://127.0.0.1:{port}/v1/realtime"
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    sys.exit("the server did not start")


def serve_leaking(port: int) -> None:
    """An echo that keeps a little of every step for good."""
    from backtalk.echo import build_echo
    from backtalk.models.store import ModelStore
    from backtalk.server.agent_pool import AgentPool
    from backtalk.server.app import build_app
    from backtalk.server.drain import build_server, listen
    from backtalk.server.settings import ServerSettings
    from backtalk.systems import FrameAgent

    system = build_echo(ModelStore.default(), leak_bytes_per_step=LEAKED_BYTES_PER_STEP)
    settings = ServerSettings(port=port)
    app = build_app(AgentPool({"echo": FrameAgent(system, 65)}), settings)
    asyncio.run(build_server(app, settings).serve([listen(settings)]))


def measure(name: str, run: Run, *, is_short: bool, out: Path) -> dict[str, Any]:
    """Put one load on a fresh server; its report, which is also written."""
    options = {**run.options, **(run.short if is_short else {})}
    with server(run) as url:
        command = [sys.executable, "-m", "backtalk", "bench", "load", "--url", url]
        for option, value in options.items():
            command += [f"--{option}", value]
        subprocess.run([*command, "--out", str(out / f"load-{name}")], check=False)
    path = out / f"load-{name}.json"
    report: dict[str, Any] = json.loads(path.read_text())
    if run.is_leaking:
        memory = next(c for c in report["checks"] if c["name"] == "memory growth MiB")
        report["passed"] = not memory["ok"]
    # Second by second memory is in the picture.
    report["server"]["samples"] = report["server"]["samples"][
        :: max(1, len(report["server"]["samples"]) // 20)
    ]
    path.write_text(json.dumps(report, indent=1) + "\n")
    return report


def row(name: str, report: dict[str, Any]) -> dict[str, Any]:
    """What of a report goes into the table."""
    return {
        "run": name,
        "passed": report["passed"],
        "sessions": report["connects"]["accepted"],
        "frames": report["frames"],
        "latency_ms": report["latency_ms"],
        "refused_ms": report["connects"]["refused_ms"],
        "cpu_us_per_frame": report["server"]["cpu_us_per_frame"],
        "memory_growth_mib": (report["server"]["memory"] or {}).get("growth_mib"),
        "failed_checks": [c for c in report["checks"] if not c["ok"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", help=f"of {', '.join(RUNS)}; all by default")
    parser.add_argument("--short", action="store_true", help="about three minutes in all")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--serve-leaking", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_leaking:
        serve_leaking(arguments.serve_leaking)
        return
    arguments.out.mkdir(exist_ok=True)
    rows = []
    for name in arguments.runs or RUNS:
        print(f"== {name}", flush=True)
        report = measure(name, RUNS[name], is_short=arguments.short, out=arguments.out)
        rows.append(row(name, report))
    summary = arguments.out / "load.json"
    known = json.loads(summary.read_text())["runs"] if summary.exists() else []
    kept = [old for old in known if old["run"] not in {new["run"] for new in rows}]
    machine = report["machine"]
    summary.write_text(json.dumps({"machine": machine, "runs": kept + rows}, indent=1) + "\n")
    failed = [found["run"] for found in rows if not found["passed"]]
    sys.exit(f"over a limit: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
