"""What a server costs per frame beyond the sockets: `backtalk serve --system echo` beside raw echo.

The same client speaks the same messages (20 ms of PCM16 as base64 in JSON) to two servers that run
side by side: one that sends every message back as it came, made of the `websockets` library's
asyncio server and nothing else, and Backtalk with its null system. They take turns, several times.
What counts is the processor time of the server's process, all its threads, per frame that came
back; where there are two cores, the servers have one and this client the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from backtalk.bench.realtime_client import RealtimeClient, ServerEvent
from backtalk.bench.stamped_audio import FRAME_S, stamped_frame
from backtalk.machine import describe_machine

HERE = Path(__file__).parent
PIN = not os.environ.get("NOPIN")
WARM_UP_S = 1.0
STARTS_WITHIN_S = 60.0
ALLOWED_US = 50.0
"""Processor time per frame that Backtalk may cost more than raw echo."""


@dataclass
class Server:
    """A server under measurement."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    us_per_frame: list[float] = field(default_factory=list)
    returned_share: list[float] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    def cpu_s(self) -> float:
        """Processor seconds of the process so far, to the nanosecond."""
        # Linux numbers the processor clock of another process like this (clock_getcpuclockid).
        return time.clock_gettime(~self.process.pid << 3 | 2)


class Talker:
    """One session that sends a frame every 20 ms and counts what comes back."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self.sent = self.returned = 0

    async def talk(self, url: str, start_s: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        client = await RealtimeClient.connect(url, self._take, model="echo")
        for number in range(round(seconds / FRAME_S)):
            await asyncio.sleep(max(0.0, start_s + number * FRAME_S - loop.time()))
            client.append(stamped_frame(self._stream, number))
            self.sent += 1
        await asyncio.sleep(0.2)
        await client.close()

    def _take(self, event: ServerEvent) -> None:
        if event.type in ("response.output_audio.delta", "input_audio_buffer.append"):
            self.returned += 1


async def measure(server: Server, sessions: int, seconds: float) -> None:
    """One turn of one server."""
    talkers = [Talker(n) for n in range(sessions)]
    loop = asyncio.get_running_loop()
    start_s = loop.time() + 1.0
    whole_s = WARM_UP_S + seconds + 0.5
    async with asyncio.TaskGroup() as group:
        for n, talker in enumerate(talkers):
            at_s = start_s + n * FRAME_S / sessions
            group.create_task(talker.talk(server.url, at_s, whole_s))
        await asyncio.sleep(start_s + WARM_UP_S - loop.time())
        cpu_s, frames = server.cpu_s(), sum(t.returned for t in talkers)
        await asyncio.sleep(seconds)
        cpu_s, frames = server.cpu_s() - cpu_s, sum(t.returned for t in talkers) - frames
    server.us_per_frame.append(1e6 * cpu_s / max(1, frames))
    server.returned_share.append(frames / (sessions * seconds / FRAME_S))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def start(name: str, port: int, sessions: int) -> Server:
    """Start a server in a process of its own, on its own core if there are two."""
    if name == "raw":
        command = [sys.executable, __file__, "--raw-echo", str(port)]
    else:
        command = [sys.executable, "-m", "backtalk", "serve", "--system", "echo"]
        command += ["--port", str(port), "--sessions", str(sessions)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    if PIN and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
    return Server(name, process, port)


def wait_until_ready(server: Server) -> None:
    deadline_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline_s and server.process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{server.port}/ready").status_code in (200, 426):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    sys.exit(f"the {server.name} server did not start")


async def serve_raw_echo(port: int) -> None:
    """The yardstick: the library's server, without compression, and a loop."""
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", port, compression=None):
        await asyncio.Future()


async def compare(servers: list[Server], sessions: int, seconds: float, rounds: int) -> None:
    for n in range(rounds):
        for server in servers if n % 2 == 0 else servers[::-1]:
            await measure(server, sessions, seconds)
            print(f"round {n + 1}: {server.name:9} {server.us_per_frame[-1]:6.1f} us per frame")


def report(servers: list[Server], sessions: int, seconds: float) -> dict[str, object]:
    raw, ours = (statistics.median(server.us_per_frame) for server in servers)
    return {
        "bench": "server_overhead",
        "machine": describe_machine(),
        "sessions": sessions,
        "frame_ms": 1000 * FRAME_S,
        "seconds_per_turn": seconds,
        "us_per_frame": {s.name: [round(us, 1) for us in s.us_per_frame] for s in servers},
        "returned_share": {s.name: round(min(s.returned_share), 3) for s in servers},
        "median_us": {"raw": round(raw, 1), "backtalk": round(ours, 1)},
        "overhead_us": round(ours - raw, 1),
        "allowed_us": ALLOWED_US,
        "passed": ours - raw <= ALLOWED_US,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="per turn of a server")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "server_overhead.json")
    parser.add_argument("--raw-echo", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.raw_echo:
        asyncio.run(serve_raw_echo(arguments.raw_echo))
        return
    servers = [start(name, free_port(), arguments.sessions) for name in ("raw", "backtalk")]
    if PIN and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        for server in servers:
            wait_until_ready(server)
        asyncio.run(compare(servers, arguments.sessions, arguments.seconds, arguments.rounds))
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()
    found = report(servers, arguments.sessions, arguments.seconds)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    median = found["median_us"]
    print(f"{median}; backtalk adds {found['overhead_us']} us per frame (at most {ALLOWED_US:g})")


if __name__ == "__main__":
    main()
