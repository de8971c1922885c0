"""Many sessions at once with an echo, open loop: what a server loses, delays, refuses and keeps.

The client sends on schedule whatever comes back, so a server that stalls is charged for every frame
it delayed, and it runs apart from the server, in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from backtalk.bench.echo_stream import EchoStream, RefusedError, Tally, Target
from backtalk.bench.server_watch import EVERY_S, ServerWatch
from backtalk.bench.stamped_audio import FRAME_S
from backtalk.machine import StolenTime

STORM_CONNECTS_WITHIN_S = 5.0
SLOW_READER_STOPS_S = 10.0
SETTLES_WITHIN_S = 1.0
"""How long after a slow reader reads again its audio should be at the live edge."""

OLD_MS = 100.0


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to do to a server.

    Attributes:
        target: whom.
        profile: `steady` (sessions that stay), `storm` (connects in 5 s, most of them too many) or
            `churn` (connects that stay for `seconds` each, `sessions` of them at once).
        sessions: at once; storm: how many stay is for the server to say.
        seconds: of audio, per session.
        connects: of a storm, or all of a churn.
        slow_readers: sessions of a steady run that stop reading for 10 s.
        kill: sessions of a steady run that vanish in the middle of it.
    """

    target: Target
    profile: str = "steady"
    sessions: int = 64
    seconds: float = 60.0
    connects: int = 500
    slow_readers: int = 0
    kill: int = 0


@dataclass(slots=True)
class LoadRun:
    """What a run found.

    Attributes:
        tally: of sessions that did nothing wrong.
        slow: of slow readers, whose losses are their own fault.
        calm: storm only: of the accepted sessions after the last connect.
        settled_ms: per slow reader, worst latency later than a second after it read again.
        held_ms: per slow reader, how much old sound it got when it read again.
        load_average: of the machine when it ended.
        stolen_share: of processor time that a virtual machine was denied meanwhile, 0 to 1.
    """

    plan: LoadPlan
    watch: ServerWatch
    tally: Tally = field(default_factory=Tally)
    slow: Tally = field(default_factory=Tally)
    calm: Tally = field(default_factory=Tally)
    settled_ms: list[float] = field(default_factory=list)
    held_ms: list[float] = field(default_factory=list)
    load_average: float = 0.0
    stolen_share: float | None = None


async def run_load(plan: LoadPlan, on_progress: Callable[[str], None] | None = None) -> LoadRun:
    """Carry out a plan; takes as long as the plan says."""
    say = on_progress or (lambda text: None)
    gc.collect()
    gc.freeze()  # keeps collections short: their pauses would count as the server's
    watch = ServerWatch(plan.target.url, plan.target.token)
    run = LoadRun(plan, watch)
    stolen = StolenTime()
    async with watch:
        await PROFILES[plan.profile](run, itertools.count(random.getrandbits(24) << 7), say)
        if watch.samples:
            await asyncio.sleep(1.5 * EVERY_S)  # one more reading when everybody has left
    run.load_average, run.stolen_share = os.getloadavg()[0], stolen.share()
    gc.unfreeze()
    return run


async def _steady(run: LoadRun, ids: Iterator[int], say: Callable[[str], None]) -> None:
    plan = run.plan
    say(f"connecting {plan.sessions} sessions")
    tallies = [run.slow if n < plan.slow_readers else run.tally for n in range(plan.sessions)]
    streams = []
    for tally in tallies:
        stream = EchoStream(next(ids), plan.target, tally)
        try:
            await stream.open()
        except RefusedError:
            continue
        streams.append(stream)
    say(f"{len(streams)} sessions talk for {plan.seconds:.0f} s")
    slow = [s for s in streams if s.tally is run.slow]
    killed = set(streams[len(slow) : len(slow) + plan.kill])
    spread_s = plan.target.frames_per_message * FRAME_S / max(1, len(streams))
    start_s = asyncio.get_running_loop().time() + 0.1
    async with asyncio.TaskGroup() as group:
        for n, stream in enumerate(streams):
            at_s = start_s + n * spread_s
            if stream in killed:
                group.create_task(_talk_and_vanish(stream, at_s, plan.seconds))
            elif stream in slow:
                group.create_task(_talk_and_look_away(run, stream, at_s))
            else:
                group.create_task(_talk(stream, at_s, plan.seconds))


async def _talk(stream: EchoStream, start_s: float, seconds: float) -> None:
    await stream.speak(start_s, seconds)
    await stream.finish()


async def _talk_and_vanish(stream: EchoStream, start_s: float, seconds: float) -> None:
    await stream.speak(start_s, seconds * random.uniform(0.3, 0.7))
    await stream.vanish()


async def _talk_and_look_away(run: LoadRun, stream: EchoStream, start_s: float) -> None:
    talking = asyncio.create_task(stream.speak(start_s, run.plan.seconds))
    await asyncio.sleep(run.plan.seconds / 4)
    stream.client.pause_reading()
    await asyncio.sleep(SLOW_READER_STOPS_S)
    back_s = asyncio.get_running_loop().time()
    stream.client.resume_reading()
    await talking
    settled_s = back_s + SETTLES_WITHIN_S
    settled = [ms for at_s, ms in stream.arrivals if at_s >= settled_s]
    old = [ms for at_s, ms in stream.arrivals if back_s <= at_s < settled_s and ms > OLD_MS]
    run.held_ms.append(1000.0 * FRAME_S * len(old))
    if settled:
        run.settled_ms.append(max(settled))
    await stream.finish()


async def _storm(run: LoadRun, ids: Iterator[int], say: Callable[[str], None]) -> None:
    plan, loop = run.plan, asyncio.get_running_loop()
    say(f"{plan.connects} connects within {STORM_CONNECTS_WITHIN_S:.0f} s")
    start_s = loop.time()
    end_s = start_s + STORM_CONNECTS_WITHIN_S + plan.seconds

    async def connect(n: int) -> None:
        at_s = start_s + n * STORM_CONNECTS_WITHIN_S / plan.connects
        await asyncio.sleep(max(0.0, at_s - loop.time()))
        stream = EchoStream(next(ids), plan.target, run.tally)
        try:
            await stream.open()
        except RefusedError:
            return
        stormy_s = max(0.0, start_s + STORM_CONNECTS_WITHIN_S - loop.time())
        await stream.speak(loop.time(), stormy_s + plan.seconds)
        await stream.finish()

    async def note_calm() -> None:
        await asyncio.sleep(STORM_CONNECTS_WITHIN_S + SETTLES_WITHIN_S)
        stormy_frames = len(run.tally.latency_ms)
        say(f"{len(run.tally.ready_ms)} accepted, {run.tally.refusals.total()} refused")
        await asyncio.sleep(max(0.0, end_s - loop.time()))
        run.calm.latency_ms = run.tally.latency_ms[stormy_frames:]

    async with asyncio.TaskGroup() as group:
        group.create_task(note_calm())
        for n in range(plan.connects):
            group.create_task(connect(n))


async def _churn(run: LoadRun, ids: Iterator[int], say: Callable[[str], None]) -> None:
    plan, loop = run.plan, asyncio.get_running_loop()
    left = iter(range(plan.connects))

    async def come_and_go(lane: int) -> None:
        await asyncio.sleep(lane * plan.seconds / plan.sessions)
        for n in left:
            stream = EchoStream(next(ids), plan.target, run.tally)
            try:
                await stream.open()
            except RefusedError:
                await asyncio.sleep(0.1)
                continue
            await _talk(stream, loop.time(), plan.seconds)
            if n % 100 == 0:
                say(f"{n} of {plan.connects} have come and gone")

    async with asyncio.TaskGroup() as group:
        for lane in range(plan.sessions):
            group.create_task(come_and_go(lane))


PROFILES = {"steady": _steady, "storm": _storm, "churn": _churn}
