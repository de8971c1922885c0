"""Sound that is not speech, and numbers that are not sound: LLVC stays finite and recovers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from small_llvc import noise, small_engine

from backtalk.errors import AudioError
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.llvc_system import LlvcSystem
from backtalk.llvc.random_voice import random_voice
from backtalk.llvc.stream import LlvcStream, convert
from backtalk.session.frame_session import FrameSession
from backtalk.stream.events import ReplyAudio, SessionError

SAMPLES = 2_400
FORGOTTEN = 600
"""Samples after which the small network remembers nothing of what was before."""


def silence(samples: int) -> np.ndarray:
    return np.zeros(samples, np.float32)


BAD: dict[str, Callable[[int], np.ndarray]] = {
    "silence": silence,
    "almost silence": lambda n: np.full(n, 1e-40, np.float32),
    "a constant": lambda n: np.full(n, 0.9, np.float32),
    "clipped": lambda n: np.sign(noise(n)).astype(np.float32),
    "beyond full scale": lambda n: 1e4 * noise(n),
    "not numbers": lambda n: np.full(n, np.nan, np.float32),
    "infinite": lambda n: np.full(n, -np.inf, np.float32),
    "one click": lambda n: np.eye(1, n, n // 2, dtype=np.float32)[0],
}


@pytest.mark.parametrize("prenet", [False, True])
@pytest.mark.parametrize("kind", BAD)
def test_what_follows_bad_sound_is_converted_as_if_it_had_not_been(kind: str, prenet: bool) -> None:
    engine = small_engine(prenet=prenet)
    good = noise(SAMPLES, seed=1)
    after_bad = convert(engine, np.concatenate([BAD[kind](SAMPLES), good]))
    after_silence = convert(engine, np.concatenate([silence(SAMPLES), good]))
    assert np.isfinite(after_bad).all()
    remembered = slice(SAMPLES + FORGOTTEN, None)
    assert np.abs(after_bad[remembered] - after_silence[remembered]).max() < 1e-5


@pytest.mark.parametrize("kind", BAD)
async def test_a_session_goes_on_through_bad_sound(kind: str) -> None:
    engine = small_engine()
    session = FrameSession(LlvcSystem(engine), waits=True)
    reader = session.events()
    await session.feed(np.concatenate([noise(240), BAD[kind](240), noise(240)]))
    await session.finish()
    await session.close()
    events = [event async for event in reader]
    assert not any(isinstance(event, SessionError) for event in events)
    heard = np.concatenate([event.pcm for event in events if isinstance(event, ReplyAudio)])
    assert heard.size >= 720
    assert np.isfinite(heard).all()


def test_numbers_that_are_none_are_silence_and_too_loud_ones_full_scale() -> None:
    engine = small_engine()
    pcm = noise(500)
    spoilt = pcm.copy()
    spoilt[100:110], spoilt[200:210], pcm[100:110], pcm[200:210] = np.nan, 9.0, 0.0, 1.0
    assert np.array_equal(convert(engine, spoilt), convert(engine, pcm))


@pytest.mark.parametrize("sample_rate", [-16_000, 999, 10_000_000])
def test_a_rate_that_is_none_is_refused(sample_rate: int) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        LlvcStream(small_engine(), sample_rate)


@pytest.mark.parametrize(
    "pcm", [np.zeros((10, 2), np.float32), np.zeros(10, np.int16), np.zeros((), np.float32)]
)
def test_what_is_no_mono_float_sound_is_refused(pcm: np.ndarray) -> None:
    with pytest.raises(AudioError, match=r"mono float PCM of shape \[T\]"):
        LlvcStream(small_engine()).push(pcm)


def test_no_sound_at_all_is_no_sound() -> None:
    stream = LlvcStream(small_engine(), 48_000)
    assert stream.push(silence(0)).size == 0
    assert stream.flush().size == 0


def test_silence_after_sound_leaves_no_denormals_in_a_stream() -> None:
    """Numbers that decay for ever end as denormals, which slow a processor down a hundredfold."""
    engine = LlvcEngine(random_voice(0))
    row = engine.open_row()
    rows = np.concatenate([noise(engine.frame_size) for _ in range(8)])
    for at in range(0, rows.size, engine.frame_size):
        row.step(rows[at : at + engine.frame_size])
    state = [kept.buffer for kept in (row._source, *row._kept)]
    for _ in range(200):
        row.step(silence(engine.frame_size))
    smallest = np.finfo(np.float32).tiny
    for buffer in state:
        assert not ((buffer != 0.0) & (np.abs(buffer) < smallest)).any()
