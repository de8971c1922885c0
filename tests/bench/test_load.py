"""The load bench must see every fault, and none where there is none."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

from backtalk.bench import echo_stream, server_watch
from backtalk.bench import load as load_bench
from backtalk.bench.echo_stream import Target
from backtalk.bench.load import LoadPlan, LoadRun, run_load
from backtalk.bench.load_report import draw_load, load_report
from backtalk.bench.server_watch import memory_growth, parse_metrics
from bench.fake_realtime import FakeRealtime

pytestmark = pytest.mark.realtime


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo_stream, "ANSWERED_WITHIN_S", 0.3)


async def load(server: FakeRealtime, **plan: object) -> LoadRun:
    frames = plan.pop("frames_per_message", 1)
    settings: dict[str, object] = {"sessions": 4, "seconds": 1.0, **plan}
    return await run_load(LoadPlan(Target(server.url, "echo", None, frames), **settings))


@pytest.mark.parametrize("frames_per_message", [1, 4])
async def test_an_honest_echo_has_no_faults(frames_per_message: int) -> None:
    async with FakeRealtime().run() as server:
        run = await load(server, frames_per_message=frames_per_message)
    counts = run.tally.counts
    assert (counts.sent, counts.received, counts.faults) == (200, 200, 0)
    assert len(run.tally.latency_ms) == 200
    assert 0 < max(run.tally.latency_ms) < 500
    assert len(run.tally.ready_ms) == 4
    assert run.tally.closes == {"by us": 4}
    assert server.resets == 0


async def test_latency_is_what_the_server_adds() -> None:
    async with FakeRealtime(delay_s=0.015).run() as server:
        run = await load(server, sessions=2)
    assert 15 <= sorted(run.tally.latency_ms)[50] < 40


FAULTS = {
    "lost": lambda session, frame, pcm: [] if frame == 20 else [pcm],
    "duplicated": lambda session, frame, pcm: [pcm, pcm] if frame == 20 else [pcm],
    "damaged": lambda session, frame, pcm: [
        pcm[:-1] + bytes([pcm[-1] ^ 1]) if frame == 20 else pcm
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_one_session_is_seen(fault: str) -> None:
    def spoil(session: int, frame: int, pcm: bytes) -> list[bytes]:
        return FAULTS[fault](session, frame, pcm) if session == 2 else [pcm]

    async with FakeRealtime(spoil=spoil).run() as server:
        run = await load(server)
    assert getattr(run.tally.counts, fault) == 1
    assert run.tally.counts.faults == (2 if fault == "damaged" else 1)


async def test_frames_that_change_places_are_seen() -> None:
    kept: list[bytes] = []

    def swap(session: int, frame: int, pcm: bytes) -> list[bytes]:
        if session == 1 and frame == 20:
            kept.append(pcm)
            return []
        return [pcm, kept.pop()] if session == 1 and kept else [pcm]

    async with FakeRealtime(spoil=swap).run() as server:
        run = await load(server)
    assert (run.tally.counts.reordered, run.tally.counts.faults) == (1, 1)


async def test_frames_of_another_session_are_seen() -> None:
    last: dict[int, bytes] = {}

    def cross(session: int, frame: int, pcm: bytes) -> list[bytes]:
        last[session] = pcm
        return [last.get(2, pcm)] if session == 1 and frame == 20 else [pcm]

    async with FakeRealtime(spoil=cross).run() as server:
        run = await load(server)
    assert (run.tally.counts.crossed, run.tally.counts.lost) == (1, 1)


async def test_a_storm_counts_who_was_let_in_and_who_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load_bench, "STORM_CONNECTS_WITHIN_S", 0.5)
    monkeypatch.setattr(load_bench, "SETTLES_WITHIN_S", 0.2)
    async with FakeRealtime(slots=5).run() as server:
        run = await load(server, profile="storm", connects=20, seconds=0.5)
    assert len(run.tally.ready_ms) == 5
    assert run.tally.refusals == {"at_capacity": 15}
    assert len(run.tally.refused_ms) == 15
    assert run.tally.counts.faults == 0
    assert 0 < len(run.calm.latency_ms) < len(run.tally.latency_ms)


async def test_churn_comes_and_goes() -> None:
    async with FakeRealtime(slots=3).run() as server:
        run = await load(server, profile="churn", connects=9, sessions=3, seconds=0.2)
    assert (server.total, server.active) == (9, 0)
    assert run.tally.counts.sent == 90
    assert run.tally.counts.faults == 0


async def test_clients_that_vanish_are_not_taken_for_losses() -> None:
    async with FakeRealtime().run() as server:
        run = await load(server, kill=2)
    assert run.tally.closes == {"reset by us": 2, "by us": 2}
    assert run.tally.counts.faults == 0
    assert server.active == 0


@pytest.mark.parametrize(("leak_bytes", "is_flat"), [(0, True), (4 << 20, False)])
async def test_memory_that_grows_is_noticed(
    leak_bytes: int, is_flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_watch, "EVERY_S", 0.1)
    monkeypatch.setattr(load_bench, "EVERY_S", 0.1)
    readings = count()
    rss_bytes = lambda: (100 << 20) + leak_bytes * next(readings)  # noqa: E731
    async with FakeRealtime(rss_bytes=rss_bytes).run() as server:
        run = await load(server, sessions=1, seconds=1.0)
    memory = run.watch.memory()
    assert memory is not None
    assert memory["is_flat"] is is_flat
    assert run.watch.samples[0]["open_fds"] == 12


def test_a_line_through_memory_leaves_the_beginning_out() -> None:
    warming = [(float(t), 50.0 + 10 * t) for t in range(10)]
    flat = [(float(t), 150.0) for t in range(10, 40)]
    assert memory_growth(warming + flat)["is_flat"]  # type: ignore[index]
    leaking = [(t, mib + 0.5 * t) for t, mib in warming + flat]
    assert not memory_growth(leaking)["is_flat"]  # type: ignore[index]
    assert memory_growth(flat[:3]) is None


def test_metrics_are_read_with_their_labels() -> None:
    text = '# TYPE a gauge\na 1.5\nb{code="x y"} 2\nbroken\nc NaN-ish\n'
    assert parse_metrics(text) == {"a": 1.5, 'b{code="x y"}': 2.0}


async def test_a_report_holds_every_figure_against_its_limit(tmp_path: Path) -> None:
    async with FakeRealtime(rss_bytes=lambda: 100 << 20).run() as server:
        good = load_report(await load(server))
    async with FakeRealtime(spoil=FAULTS["lost"]).run() as server:
        bad = load_report(await load(server, slow_readers=0))
    assert {c["name"] for c in bad["checks"] if not c["ok"]} >= {"lost"}
    assert not bad["passed"]
    assert all(c["ok"] for c in good["checks"] if "ms" not in c["name"])
    assert sum(good["histogram"]["counts"]) == good["frames"]["received"] == 200
    json.dumps(good)
    draw_load(tmp_path / "good.png", good)
    draw_load(tmp_path / "bad.png", bad)
    assert (tmp_path / "good.png").stat().st_size > 10_000


async def test_a_slow_reader_is_reported_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_bench, "SLOW_READER_STOPS_S", 0.5)
    monkeypatch.setattr(load_bench, "SETTLES_WITHIN_S", 0.2)
    async with FakeRealtime().run() as server:
        run = await load(server, slow_readers=1, seconds=2.0)
    assert run.tally.counts.sent == 300
    assert run.slow.counts.received == 100
    assert 300 <= run.held_ms[0] <= 500
    assert run.settled_ms[0] < 200
    assert max(run.tally.latency_ms) < 200


async def test_a_server_that_hangs_up_does_not_pass() -> None:
    def give_up(session: int, frame: int, pcm: bytes) -> list[bytes]:
        if frame == 20:
            raise RuntimeError("broken")
        return [pcm]

    async with FakeRealtime(spoil=give_up).run() as server:
        run = await load(server, sessions=1)
    assert run.tally.errors == {"hung up with 1011": 1}
    assert run.tally.closes == {"1011": 1}
