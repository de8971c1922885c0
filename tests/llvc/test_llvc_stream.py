"""Conversion of a sound in pieces and of a session's frames: lengths, schedules, rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_llvc import SMALL, noise, small_engine

from backtalk.llvc import llvc_system
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.llvc_system import LlvcSystem, build_llvc
from backtalk.llvc.random_voice import random_voice
from backtalk.llvc.stream import LlvcStream, convert
from backtalk.models.store import ModelStore
from backtalk.session.frame_session import FrameSession
from backtalk.stream.check import check_rows, check_schedules
from backtalk.stream.events import ReplyAudio


@pytest.mark.parametrize("prenet", [True, False])
def test_any_push_schedule_gives_the_same_samples(prenet: bool) -> None:
    engine = small_engine(prenet=prenet)
    check_schedules(lambda: LlvcStream(engine), noise(317))


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 48_000])
def test_a_sound_of_any_rate_keeps_its_length_in_any_schedule(sample_rate: int) -> None:
    engine = small_engine(4)
    pcm = noise(5_001)
    assert convert(engine, pcm, sample_rate).size == pcm.size
    check_schedules(lambda: LlvcStream(engine, sample_rate), pcm, atol=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 3, 11, 12, 13])
def test_a_sound_of_any_length_keeps_it(samples: int) -> None:
    assert convert(small_engine(), noise(samples)).size == samples


def test_the_chunk_factor_changes_no_sample() -> None:
    pcm = noise(1_000)
    once = convert(small_engine(1), pcm)
    for chunk_factor in (2, 3, 8):
        assert np.abs(convert(small_engine(chunk_factor), pcm) - once).max() < 1e-6


def test_a_stream_begins_anew_after_a_flush() -> None:
    stream = LlvcStream(small_engine(prenet=True))
    first = np.concatenate([stream.push(noise(100)), stream.flush()])
    again = np.concatenate([stream.push(noise(100)), stream.flush()])
    assert np.array_equal(first, again)


class Frames:
    """The system as the checker wants it: a step gives an array."""

    def __init__(self, system: LlvcSystem) -> None:
        self.alloc, self.reset, self.system = system.alloc, system.reset, system

    def step(self, state: Any, x: Any, active: np.ndarray) -> np.ndarray:
        return self.system.step(state, x, active).pcm


@pytest.mark.parametrize("prenet", [True, False])
def test_rows_do_not_touch_each_other(prenet: bool) -> None:
    system = LlvcSystem(small_engine(prenet=prenet))
    inputs = [noise(system.spec.frame_size, seed) for seed in range(5)]
    check_rows(Frames(system), inputs)


async def test_a_session_gives_the_whole_conversion_as_late_as_it_says() -> None:
    engine = small_engine(2)
    pcm = noise(20 * engine.frame_size + 5)
    session = FrameSession(LlvcSystem(engine), waits=True)
    reader = session.events()
    for at in range(0, pcm.size, 100):
        await session.feed(pcm[at : at + 100])
    await session.finish()
    await session.close()
    heard = [event.pcm async for event in reader if isinstance(event, ReplyAudio)]
    converted = np.concatenate(heard)[engine.lookahead_samples :]
    assert np.array_equal(converted[: pcm.size], convert(engine, pcm))


def test_the_builder_opens_voices_and_random_weights(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llvc_system, "random_voice", lambda seed: random_voice(seed, SMALL))
    system = build_llvc(ModelStore(tmp_path), random_weights=0, chunk_factor=2, weights="int8")
    assert system.spec.name == "llvc"
    assert system.spec.frame_size == 2 * SMALL.chunk_size
    assert system.spec.lookahead_samples == SMALL.hop


def test_a_row_says_what_it_takes() -> None:
    engine = LlvcEngine(random_voice(0))
    assert 1 << 20 < engine.open_row().nbytes < 4 << 20
