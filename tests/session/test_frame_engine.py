"""Many sessions on one frame-clocked model."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from backtalk.echo import EchoSystem, build_echo
from backtalk.errors import CapacityError, ConfigError, SessionClosedError, StageError
from backtalk.models.store import ModelStore
from backtalk.session.frame_engine import FAILURES_WITHIN_S, MAX_FAILURES, FrameEngine
from backtalk.session.frame_session import FrameSession
from backtalk.session.frame_system import StepOut
from backtalk.stream.check import check_rows
from backtalk.stream.events import Event, Overrun, ReplyAudio, SessionError
from backtalk.systems import FrameAgent

FRAME = 480
FRAME_S = 0.02


def echo(**options: Any) -> EchoSystem:
    return build_echo(ModelStore.default(), **options)


class Listener:
    """Reads all events of a session in a task of its own."""

    def __init__(self, session: FrameSession) -> None:
        self.session = session
        self.events: list[Event] = []
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self.session.events():
            self.events.append(event)

    @property
    def pcm(self) -> np.ndarray:
        pieces = [e.pcm for e in self.events if isinstance(e, ReplyAudio)]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    @property
    def errors(self) -> list[str]:
        return [e.message for e in self.events if isinstance(e, SessionError)]


async def speak(session: FrameSession, pcm: np.ndarray, chunk: int) -> None:
    for at in range(0, len(pcm), chunk):
        await session.feed(pcm[at : at + chunk])
        await asyncio.sleep(chunk / FRAME * FRAME_S)


class CountingEcho(EchoSystem):
    """Writes down how many rows each step had, and on which thread."""

    def __init__(self, system: EchoSystem) -> None:
        self.__dict__.update(system.__dict__)
        self.rows_per_step: list[int] = []
        self.threads: set[str] = set()

    def step(self, state: Any, pcm: np.ndarray, active: np.ndarray) -> StepOut:
        self.rows_per_step.append(int(active.sum()))
        self.threads.add(threading.current_thread().name)
        return super().step(state, pcm, active)


@pytest.mark.parametrize("step_ms", [0.0, 0.5])
async def test_every_session_hears_its_own_voice_whatever_its_neighbours_do(step_ms: float) -> None:
    engine = FrameEngine(echo(delay_frames=2, step_ms=step_ms), 6)
    rng = np.random.default_rng(0)
    voices = [rng.uniform(-1, 1, 30 * FRAME).astype(np.float32) for _ in range(6)]
    sessions = [FrameSession(engine) for _ in voices]
    listeners = [Listener(session) for session in sessions]

    async def converse(n: int) -> None:
        await speak(sessions[n], voices[n], [480, 960, 100, 333, 1, 479][n])
        await sessions[n].finish()
        await sessions[n].close()

    voices[4] = voices[4][: 2 * FRAME]  # sample by sample
    await asyncio.gather(*(converse(n) for n in range(6)))
    for listener, voice in zip(listeners, voices, strict=True):
        await listener.task
        np.testing.assert_array_equal(listener.pcm[2 * FRAME : 2 * FRAME + len(voice)], voice)
        assert not listener.pcm[: 2 * FRAME].any()
    assert engine.free_slots == 6
    await engine.close()


async def test_frames_that_wait_at_the_same_time_share_a_step_on_the_one_model_thread() -> None:
    system = CountingEcho(echo(step_ms=0.5))
    engine = FrameEngine(system, 64)
    sessions = [FrameSession(engine) for _ in range(64)]
    for _ in range(5):
        await asyncio.gather(*(s.feed(np.zeros(FRAME, np.float32)) for s in sessions))
        await asyncio.sleep(FRAME_S)
    assert sum(system.rows_per_step) == 5 * 64
    assert len(system.rows_per_step) <= 5 * 2
    assert len(system.threads) == 1
    assert threading.current_thread().name not in system.threads
    for session in sessions:
        await session.close()
    await engine.close()


async def test_a_light_system_steps_on_the_loop() -> None:
    system = CountingEcho(echo())
    session = FrameSession(system)
    await session.feed(np.zeros(FRAME, np.float32))
    await asyncio.sleep(FRAME_S)
    assert system.threads == {threading.current_thread().name}
    await session.close()


async def test_when_all_slots_are_taken_the_next_is_refused_until_one_leaves() -> None:
    agent = FrameAgent(echo(), slots=2)
    await agent.warm_up()
    first, second = agent.open_session(), agent.open_session()
    with pytest.raises(CapacityError, match="all 2 sessions of echo are taken"):
        agent.open_session()
    await first.close()
    third = agent.open_session()
    await asyncio.gather(second.close(), third.close())
    await agent.close()
    await agent.close()


async def test_an_engine_without_slots_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        FrameEngine(echo(), 0)


@pytest.mark.parametrize("step_ms", [0.0, 2.0])
async def test_a_slot_given_to_somebody_else_tells_nothing_of_its_last_owner(
    step_ms: float,
) -> None:
    engine = FrameEngine(echo(delay_frames=3, step_ms=step_ms), 1)
    for n in range(20):
        session = FrameSession(engine)
        listener = Listener(session)
        for _ in range(1 + n % 4):
            await session.feed(np.full(FRAME, (n + 1) / 100, np.float32))
        await asyncio.sleep(0 if n % 2 else 0.05)  # odd ones leave while their frame is stepping
        await session.close()
        await listener.task
        assert set(np.unique(listener.pcm)) <= {np.float32(0), np.float32((n + 1) / 100)}
        assert not listener.pcm[: 3 * FRAME].any()
    await engine.close()


async def test_a_session_that_leaves_during_a_step_takes_its_frame_with_it() -> None:
    engine = FrameEngine(echo(step_ms=20.0), 1)
    gone = FrameSession(engine)
    await gone.feed(np.full(FRAME, 0.5, np.float32))
    await asyncio.sleep(0)  # the step has begun
    await gone.close()
    session = FrameSession(engine)
    listener = Listener(session)
    await session.feed(np.full(FRAME, 0.25, np.float32))
    await asyncio.sleep(0.2)
    await session.close()
    await listener.task
    assert set(np.unique(listener.pcm)) == {np.float32(0.25)}
    await engine.close()


async def test_a_reader_that_stopped_does_not_hold_up_the_others() -> None:
    engine = FrameEngine(echo(), 2)
    stuck, lively = FrameSession(engine), FrameSession(engine)
    listener = Listener(lively)
    for _ in range(300):
        await stuck.feed(np.full(FRAME, 0.5, np.float32))
        await lively.feed(np.full(FRAME, 0.25, np.float32))
        await asyncio.sleep(FRAME_S)
    await stuck.close()
    await lively.close()
    await listener.task
    assert len(listener.pcm) == 300 * FRAME
    assert not any(isinstance(e, Overrun) for e in listener.events)
    await engine.close()


@pytest.mark.parametrize("step_ms", [0.0, 0.5])
async def test_a_step_that_fails_ends_all_sessions_and_new_ones_work_at_once(
    step_ms: float,
) -> None:
    engine = FrameEngine(echo(fail_at_step=3, step_ms=step_ms), 3)
    sessions = [FrameSession(engine) for _ in range(3)]
    listeners = [Listener(session) for session in sessions]
    await speak(sessions[0], np.full(2 * FRAME, 0.5, np.float32), FRAME)
    await sessions[0].feed(np.full(FRAME, 0.5, np.float32))
    await asyncio.sleep(0.1)
    for session, listener in zip(sessions, listeners, strict=True):
        await listener.task
        assert listener.errors == ["echo failed: RuntimeError: step 3 fails on request"]
        with pytest.raises(SessionClosedError):
            await session.feed(np.zeros(FRAME, np.float32))
        await session.close()
    assert engine.free_slots == 3
    again = FrameSession(engine)
    listener = Listener(again)
    await speak(again, np.full(2 * FRAME, 0.5, np.float32), FRAME)
    await again.close()
    await listener.task
    assert len(listener.pcm) == 2 * FRAME
    await engine.close()


async def fail_once(engine: FrameEngine) -> None:
    session = FrameSession(engine)
    await session.feed(np.zeros(FRAME, np.float32))
    await asyncio.sleep(0.01)
    await session.close()


async def test_three_failures_in_a_minute_are_enough() -> None:
    engine = FrameEngine(echo(fail_at_step=1), 2)
    for _ in range(MAX_FAILURES):
        await fail_once(engine)
    with pytest.raises(StageError, match="failed 3 times within 60 s.*restart"):
        FrameSession(engine)
    assert engine.refusal is not None
    await engine.close()


async def test_failures_that_are_rare_are_forgiven() -> None:
    engine = FrameEngine(echo(fail_at_step=1), 2)
    for _ in range(2 * MAX_FAILURES):
        await fail_once(engine)
        await asyncio.sleep(FAILURES_WITHIN_S / 2 + 1)
    assert engine.refusal is None
    await engine.close()


async def test_a_row_of_numbers_that_are_none_ends_only_its_own_session() -> None:
    engine = FrameEngine(echo(nan_at_step=5), 2)
    ill, well = FrameSession(engine), FrameSession(engine)
    listeners = [Listener(ill), Listener(well)]
    await speak(well, np.zeros(3 * FRAME, np.float32), FRAME)
    with pytest.raises(SessionClosedError):
        await speak(ill, np.zeros(9 * FRAME, np.float32), FRAME)
    await speak(well, np.zeros(1 * FRAME, np.float32), FRAME)
    assert engine.free_slots == 1
    await asyncio.gather(ill.close(), well.close())
    for listener in listeners:
        await listener.task
    assert listeners[0].errors == ["echo gave samples that are not numbers; session stopped"]
    assert len(listeners[0].pcm) == 4 * FRAME
    assert listeners[1].errors == []
    assert len(listeners[1].pcm) == 4 * FRAME
    await engine.close()


async def test_output_of_the_wrong_shape_is_a_failure_and_does_not_stop_the_engine() -> None:
    class Crooked(EchoSystem):
        def __init__(self, system: EchoSystem) -> None:
            self.__dict__.update(system.__dict__)

        def step(self, state: Any, pcm: np.ndarray, active: np.ndarray) -> StepOut:
            return StepOut(pcm[:, 1:])

    session = FrameSession(Crooked(echo()))
    listener = Listener(session)
    await session.feed(np.zeros(FRAME, np.float32))
    await asyncio.sleep(FRAME_S)
    await session.close()
    await listener.task
    assert "shape" in listener.errors[0]


@pytest.mark.parametrize("delay_frames", [0, 1, 3])
def test_the_echo_keeps_its_rows_apart(delay_frames: int) -> None:
    class Part:
        def __init__(self) -> None:
            self.echo = echo(delay_frames=delay_frames)
            self.alloc, self.reset = self.echo.alloc, self.echo.reset

        def step(self, state: Any, x: np.ndarray, active: np.ndarray) -> np.ndarray:
            return self.echo.step(state, x, active).pcm

    rows = [np.random.default_rng(n).standard_normal(FRAME).astype(np.float32) for n in range(5)]
    check_rows(Part(), rows)


@pytest.mark.parametrize("option", ["sample_rate", "frame_ms", "delay_frames", "step_ms"])
def test_an_echo_with_an_impossible_number_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        echo(**{option: -1})
