"""The live measurements of `bench llvc`, on virtual time: as slow as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from small_llvc import noise, small_engine

from backtalk.bench import llvc_streams
from backtalk.bench.llvc_click import ClickLatency, measure_clicks
from backtalk.bench.llvc_paced import run_paced, speech_frames
from backtalk.bench.llvc_report import live_in_words
from backtalk.bench.llvc_streams import StreamCount
from backtalk.errors import ConfigError
from backtalk.llvc.llvc_system import LlvcSystem
from backtalk.session.frame_system import FrameSpec, StepOut


class Late:
    """Gives back its input 16 samples late, which is what LLVC's lookahead is."""

    spec = FrameSpec("late", 16_000, 208, lookahead_samples=16)

    def alloc(self, slots: int) -> dict[str, np.ndarray]:
        return {"tail": np.zeros(16, np.float32)}

    def reset(self, state: dict[str, np.ndarray], mask: np.ndarray) -> None:
        state["tail"] = np.zeros(16, np.float32)

    def step(self, state: dict[str, np.ndarray], pcm: np.ndarray, active: np.ndarray) -> StepOut:
        joined = np.concatenate([state["tail"], pcm[0]])
        state["tail"] = joined[-16:]
        return StepOut(joined[None, :208])


class Deaf(Late):
    """Says the same whatever it hears."""

    def step(self, state: dict[str, np.ndarray], pcm: np.ndarray, active: np.ndarray) -> StepOut:
        return StepOut(np.full((1, 208), 0.1, np.float32))


async def test_a_click_comes_out_a_chunk_and_the_lookahead_after_it_went_in() -> None:
    found = await measure_clicks(Late(), 20)
    for figures in (found.own_ms, found.first_ms, found.loudest_ms):
        assert figures == pytest.approx([14.0] * 20, abs=1e-6)
    assert found.as_dict()["own_ms"]["n"] == 20


async def test_in_llvc_a_click_is_heard_ahead_of_its_sample_and_never_before_its_chunk() -> None:
    engine = small_engine(18)  # 13.5 ms a frame, six chunks of 2.25 ms
    found = await measure_clicks(LlvcSystem(engine), 10)
    spec = LlvcSystem(engine).spec
    design_ms = spec.frame_ms + 1000 * spec.lookahead_samples / spec.sample_rate
    assert found.own_ms == pytest.approx([design_ms] * 10, abs=1e-6)
    for first, own in zip(found.first_ms, found.own_ms, strict=True):
        assert 0 < first <= own


async def test_a_voice_that_does_not_answer_to_clicks_has_no_figure() -> None:
    assert (await measure_clicks(Deaf(), 3)).as_dict()["own_ms"] is None
    with pytest.raises(ConfigError, match="at least 1"):
        await measure_clicks(Late(), 0)


async def test_a_paced_run_on_a_machine_that_keeps_time_misses_nothing() -> None:
    run = await run_paced(Late(), speech_frames(noise(999), 208, 6.5, 16_000))
    report = run.as_dict()
    assert report["chunks"] == report["chunk_ms"]["n"] == 500
    assert report["chunk_ms"]["max"] == pytest.approx(0, abs=1e-6)
    assert (report["missed_chunks"], report["dropped_chunks"]) == (0, 0)
    assert report["chunks_later_than_ms"] == {"2": 0, "5": 0, "13": 0, "26": 0}
    assert report["minutes"] == pytest.approx(6.5 / 60, abs=1e-3)


async def test_chunks_that_come_late_are_counted_as_missed() -> None:
    async def frames() -> AsyncIterator[np.ndarray]:
        for n in range(100):
            if n in (10, 50):
                await asyncio.sleep(0.04)  # this machine had something else to do
            yield np.zeros(208, np.float32)

    run = await run_paced(Late(), frames())
    assert len(run.late_ms) == 100
    assert run.missed == 2 * 2, "27 and 14 ms late, then 1 ms, which is in time"
    assert max(run.late_ms) == pytest.approx(27, abs=0.1)


@pytest.mark.parametrize("limit", [0, 1, 3, 64])
@pytest.mark.parametrize("guess", [1, 3, 40])
def test_streams_are_added_or_taken_away_until_as_many_as_possible_keep_up(
    limit: int, guess: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(rows: list[Any], *more: Any) -> None:
        count: StreamCount = more[-1]
        is_guess = not tried
        count.round_ms = [13.5 / (guess + 0.5) if is_guess else 14.0 if len(rows) > limit else 1.0]
        tried.append(len(rows))

    tried: list[int] = []
    monkeypatch.setattr(llvc_streams, "_run", run)
    engine = small_engine(18)  # 13.5 ms
    found = llvc_streams.count_streams(engine, noise(16_000), 0.3)
    assert found["keeps_up"] == limit
    assert tried[:2] == [1, guess]
    assert [count["streams"] for count in found["tried"]] == tried[1:]


def test_streams_are_stepped_in_turn_whenever_a_chunk_is_due() -> None:
    found = llvc_streams.count_streams(small_engine(18), noise(16_000), 0.1)
    assert 0 <= found["keeps_up"] <= llvc_streams.MOST_STREAMS
    assert all(count["round_ms"]["n"] == 7 for count in found["tried"])
    assert StreamCount(3, 13.0, [12.9, 13.1, 30.0]).missed == 2


def test_what_was_measured_live_is_said_in_lines() -> None:
    figures = {"n": 20, "p50": 15.2, "p95": 16.0, "p99": 17.0, "max": 18.0}
    live = {
        "click": {"own_ms": figures},
        "paced": {
            "minutes": 10,
            "chunks": 20,
            "missed_chunks": 1,
            "chunk_ms": figures,
            "rss_mib": [99.6, 100.1],
        },
        "streams": {"int8": {"keeps_up": 13}},
    }
    assert live_in_words(live) == [
        "a click in, a click out: 15.2 ms (p95 16.0, p99 17.0; 20 clicks)",
        "paced for 10 min: 1 of 20 chunks missed, p50 15.2 ms, p99 17.0, max 18.0; "
        "memory 100 to 100 MiB",
        "int8: 13 streams keep up on one core",
    ]
    assert live_in_words({}) == []
    [line] = live_in_words({"click": ClickLatency(dropped=7).as_dict()})
    assert line.startswith("no click was timed: 7 chunks were left out")
