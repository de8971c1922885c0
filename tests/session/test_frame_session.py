"""Converters and full-duplex systems: the frame clock."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from backtalk.echo import build_echo
from backtalk.errors import SessionClosedError
from backtalk.models.store import ModelStore
from backtalk.session.frame_session import MAX_UNREAD_MS, FrameSession
from backtalk.session.frame_system import FrameSpec, StepOut
from backtalk.stream.check import check_rows
from backtalk.stream.events import (
    Event,
    Overrun,
    ReplyAudio,
    ReplyText,
    SessionError,
    StepsMeasured,
)

FRAME = 160


class DelayLine:
    """Gives back its input, negated and `lookahead_samples` late; says something every tenth."""

    def __init__(self, lookahead_samples: int = 40, break_at: int | None = None) -> None:
        self.spec = FrameSpec("delay-line", 16000, FRAME, lookahead_samples)
        self.break_at = break_at

    def alloc(self, slots: int) -> dict[str, Any]:
        late = self.spec.lookahead_samples
        return {"late": np.zeros((slots, late), np.float32), "steps": np.zeros(slots, int)}

    def reset(self, state: dict[str, Any], mask: np.ndarray) -> None:
        state["late"][mask] = 0
        state["steps"][mask] = 0

    def step(self, state: dict[str, Any], pcm: np.ndarray, active: np.ndarray) -> StepOut:
        if self.break_at is not None and state["steps"][0] == self.break_at:
            return StepOut(np.full_like(pcm, np.nan))
        joined = np.concatenate([state["late"], pcm], axis=1)
        late = self.spec.lookahead_samples
        if late:
            state["late"][active] = joined[active, -late:]
        state["steps"][active] += 1
        text = tuple("ten" if n % 10 == 0 else "" for n in state["steps"])
        return StepOut(-joined[:, :FRAME], text)


async def converse(
    session: FrameSession, pcm: np.ndarray, schedule: list[int]
) -> tuple[np.ndarray, list[Event]]:
    events: list[Event] = []

    async def listen() -> None:
        async for event in session.events():
            events.append(event)

    listener, at = asyncio.create_task(listen()), 0
    for size in schedule:
        await session.feed(pcm[at : at + size])
        at += size
    await session.finish()
    await session.close()
    await listener
    out = [event.pcm for event in events if isinstance(event, ReplyAudio)]
    return np.concatenate(out) if out else np.zeros(0), events


PCM = np.random.default_rng(0).uniform(-1, 1, 3210).astype(np.float32)


@pytest.mark.parametrize("schedule", [[3210], [1] * 3210, [160] * 20 + [10], [999, 1, 2210]])
async def test_any_chunk_schedule_gives_every_sample_once_and_in_place(schedule: list[int]) -> None:
    out, events = await converse(FrameSession(DelayLine(), waits=True), PCM, schedule)
    np.testing.assert_array_equal(out[40 : 40 + len(PCM)], -PCM)
    assert [e.text for e in events if isinstance(e, ReplyText)] == ["ten", "ten"]
    measured = [e for e in events if isinstance(e, StepsMeasured)]
    assert sum(e.steps for e in measured) == -(-(3210 + 40) // FRAME)
    assert measured[0].floor_ms == 10 + 2.5


def test_the_delay_line_itself_keeps_its_rows_apart() -> None:
    class Part:
        def __init__(self) -> None:
            self.line = DelayLine()
            self.alloc, self.reset = self.line.alloc, self.line.reset

        def step(self, state: Any, x: np.ndarray, active: np.ndarray) -> np.ndarray:
            return self.line.step(state, x, active).pcm

    rows = [np.random.default_rng(n).standard_normal(FRAME).astype(np.float32) for n in range(4)]
    check_rows(Part(), rows)


async def test_a_live_session_that_lags_drops_the_oldest_frames_and_says_so() -> None:
    session = FrameSession(DelayLine(lookahead_samples=0))
    pcm = np.repeat(np.arange(40, dtype=np.float32) / 40, FRAME)
    out, events = await converse(session, pcm, [len(pcm)])
    dropped = sum(e.frames for e in events if isinstance(e, Overrun))
    assert dropped == 30
    assert sum(e.dropped_ms for e in events if isinstance(e, StepsMeasured)) == 30 * 10
    np.testing.assert_array_equal(out[::FRAME], -pcm[::FRAME][30:])


async def test_numbers_that_are_none_end_the_session_with_a_reason() -> None:
    session = FrameSession(DelayLine(break_at=3), waits=True)
    events: list[Event] = []
    for _ in range(4):
        await session.feed(PCM[:FRAME])
        await asyncio.sleep(0.1)
    with pytest.raises(SessionClosedError):
        await session.feed(PCM[:FRAME])
    async for event in session.events():
        events.append(event)
    await session.close()
    assert [e.message for e in events if isinstance(e, SessionError)] == [
        "delay-line gave samples that are not numbers; session stopped"
    ]
    assert sum(isinstance(e, ReplyAudio) for e in events) == 3


async def test_a_closed_session_refuses_audio() -> None:
    session = FrameSession(DelayLine())
    await session.close()
    await session.close()
    with pytest.raises(SessionClosedError):
        await session.feed(PCM)


async def test_a_reader_that_lags_loses_the_oldest_input_and_is_told_how_much() -> None:
    session = FrameSession(DelayLine(lookahead_samples=0))
    for n in range(200):
        await session.feed(np.full(FRAME, n / 200, np.float32))
        await asyncio.sleep(0.01)
    events: list[Event] = []

    async def listen() -> None:
        async for event in session.events():
            events.append(event)

    listener = asyncio.create_task(listen())
    await session.finish()
    await session.close()
    await listener
    heard = [round(-200 * float(e.pcm[0])) for e in events if isinstance(e, ReplyAudio)]
    unread, lag = round(MAX_UNREAD_MS / DelayLine().spec.frame_ms), 10
    assert heard == [*range(unread), *range(200 - lag, 200)]
    assert [e.frames for e in events if isinstance(e, Overrun)] == [200 - unread - lag]


async def test_a_burst_that_is_stepped_where_it_arrives_comes_back_in_one_piece() -> None:
    session = FrameSession(build_echo(ModelStore.default(), sample_rate=16000, frame_ms=10))
    await session.feed(PCM[: 4 * FRAME])
    await session.feed(PCM[4 * FRAME : 5 * FRAME])
    await session.close()
    audio = [e async for e in session.events() if isinstance(e, ReplyAudio)]
    assert [len(e.pcm) for e in audio] == [4 * FRAME, FRAME]
    assert [e.offset for e in audio] == [0, 4 * FRAME]
    np.testing.assert_array_equal(np.concatenate([e.pcm for e in audio]), PCM[: 5 * FRAME])


async def test_closing_wakes_a_feeder_that_waits_for_the_model() -> None:
    session = FrameSession(DelayLine(lookahead_samples=0), waits=True)
    feeding = asyncio.create_task(session.feed(np.zeros(200 * FRAME, np.float32)))
    await asyncio.sleep(1.0)
    assert not feeding.done(), "nobody reads, so the feeder should be held back"
    await session.close()
    await asyncio.wait_for(feeding, 1.0)
