"""Microphone to loudspeaker: what is heard, what the readout says, and devices that go and come."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from backtalk.cli.convert_live import in_words, run_live
from backtalk.echo import build_echo
from backtalk.errors import AudioError, StageError
from backtalk.live_conversion import MAX_QUEUED_MS, LiveConversion, LiveReadout
from backtalk.llvc.config import llvc_small
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.random_voice import random_voice
from backtalk.models.store import ModelStore
from backtalk.session.frame_engine import FrameEngine
from backtalk.session.frame_system import FrameSpec, StepOut
from fake_portaudio import RATE, FakeSounddevice, PortAudioError

FRAME = 208
FRAME_S = FRAME / RATE
DRIVERS_MS = 2 * 50.0


class Negative:
    """A converter with LLVC's frame that gives back its input, negated; ill on request."""

    spec = FrameSpec("negative", RATE, FRAME, lookahead_samples=16)

    def __init__(self, breaks_at: int | None = None) -> None:
        self.breaks_at = breaks_at
        self.steps = 0

    def alloc(self, slots: int) -> None:
        return None

    def reset(self, state: None, mask: np.ndarray) -> None:
        pass

    def step(self, state: None, pcm: np.ndarray, active: np.ndarray) -> StepOut:
        self.steps += 1
        if self.steps == self.breaks_at:
            raise RuntimeError("out of memory")
        return StepOut(-pcm)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSounddevice:
    module = FakeSounddevice()
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


class Room:
    """A running conversion, and the clock of its devices."""

    def __init__(self, fake: FakeSounddevice, conversion: LiveConversion) -> None:
        self._fake, self._running = fake, asyncio.create_task(conversion.run())

    async def opened(self, streams: int = 2) -> None:
        """Wait until so many devices have been opened, a microphone and a loudspeaker each time."""
        for _ in range(100):
            if len(self._fake.streams) >= streams or self._running.done():
                return
            await asyncio.sleep(0.1)

    async def live(self, pcm: np.ndarray) -> np.ndarray:
        """The microphone hears `pcm` chunk by chunk; what the loudspeaker played meanwhile."""
        heard = [np.zeros(0, np.float32)]
        microphone, loudspeaker = self._fake.streams[-2:]
        for chunk in pcm.reshape(-1, FRAME):
            await asyncio.sleep(FRAME_S)
            await asyncio.to_thread(microphone.hear, chunk)
            heard.append(loudspeaker.need(FRAME))
        await asyncio.sleep(FRAME_S)  # the last chunk is converted, too
        return np.concatenate(heard)

    async def ended(self) -> None:
        await asyncio.wait_for(self._running, 30)

    async def stop(self) -> None:
        """As Ctrl-C does; its own end was told by `ended`."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


@asynccontextmanager
async def room(
    fake: FakeSounddevice, system: Any = None, **told: Any
) -> AsyncIterator[tuple[Room, LiveConversion]]:
    engine = FrameEngine(system or Negative(), 1)
    conversion = LiveConversion(engine, **told)
    open_room = Room(fake, conversion)
    await open_room.opened()
    try:
        yield open_room, conversion
    finally:
        await open_room.stop()
        await engine.close()


def sound(chunks: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, chunks * FRAME).astype(np.float32)


async def test_what_is_said_is_heard_converted_a_chunk_after_it_was_said(
    fake: FakeSounddevice,
) -> None:
    readouts: list[LiveReadout] = []
    async with room(fake, on_readout=readouts.append) as (devices, conversion):
        pcm = sound(200)
        heard = await devices.live(pcm)
    late = int(np.flatnonzero(heard)[0])
    assert late <= 2 * FRAME
    assert np.array_equal(heard[late:], -pcm[: heard.size - late])
    readout = conversion.readout()
    assert readout is not None
    assert len(readouts) == 2, "one a second"
    assert (readout.missed, readout.dropped, readout.gaps) == (0, 0, 0)
    assert readout.chunk_ms.max == 0.0, "this clock stands still while something computes"
    assert readout.design_ms == 14.0
    assert readout.devices_ms == DRIVERS_MS
    assert readout.mouth_to_ear_ms == pytest.approx(14 + readout.queue_ms + DRIVERS_MS)
    said = in_words(readout)
    assert f"mouth to ear {readout.mouth_to_ear_ms:.0f} ms = 14 by design" in said
    assert "0 of 200 missed, 0 dropped, 0 gaps" in said


async def test_a_loudspeaker_that_is_slower_than_the_microphone_costs_chunks_and_no_delay(
    fake: FakeSounddevice,
) -> None:
    async with room(fake) as (devices, conversion):
        microphone, loudspeaker = fake.streams
        for n in range(200):
            await asyncio.sleep(FRAME_S)
            await asyncio.to_thread(microphone.hear, sound(1))
            if n % 4:  # three chunks are played where four are said
                loudspeaker.need(FRAME)
        await asyncio.sleep(FRAME_S)
        readout = conversion.readout()
    assert readout is not None
    assert 40 <= readout.dropped <= 50
    assert readout.queue_ms <= MAX_QUEUED_MS + 1000 * FRAME_S


async def test_a_device_that_stops_and_returns_is_waited_for(fake: FakeSounddevice) -> None:
    lines: list[str] = []
    system = Negative()
    async with room(fake, system, on_stop=lines.append) as (devices, conversion):
        for stopped, label in ((0, "microphone"), (-1, "loudspeaker")):
            await devices.live(sound(20))
            opened = len(fake.streams)
            fake.open_error = PortAudioError("Device unavailable")
            await asyncio.to_thread(fake.streams[-2:][stopped].device_stops)
            if label == "loudspeaker":  # it is noticed by playing
                await asyncio.to_thread(fake.streams[-2].hear, sound(1))
                await asyncio.sleep(FRAME_S)
                await asyncio.to_thread(fake.streams[-2].hear, sound(1))
            await asyncio.sleep(3.5)
            assert len(fake.streams) == opened, "it opened what is not there"
            assert f"the {label} stopped" in lines[0]
            assert all("no microphone could be opened" in line for line in lines[1:])
            assert len(lines) >= 3
            lines.clear()
            fake.open_error = None
            await devices.opened(opened + 2)
            heard = await devices.live(sound(20, seed=7))
            assert np.abs(heard).max() > 0.4, f"nothing is heard after the {label} returned"
    assert fake.rescans >= 4
    assert all(stream.is_closed for stream in fake.streams)
    assert conversion.readout() is not None


async def test_a_device_that_was_never_there_is_one_error(fake: FakeSounddevice) -> None:
    fake.open_error = PortAudioError("Error querying device -1")
    lines: list[str] = []
    async with room(fake, on_stop=lines.append) as (devices, conversion):
        with pytest.raises(AudioError, match="no microphone could be opened .*plug one in"):
            await devices.ended()
    assert lines == []
    assert conversion.readout() is None


async def test_a_converter_that_breaks_ends_it_with_its_reason(fake: FakeSounddevice) -> None:
    async with room(fake, Negative(breaks_at=5)) as (devices, _):
        await devices.live(sound(10))
        with pytest.raises(StageError, match="out of memory"):
            await devices.ended()


async def test_what_the_microphone_brings_may_be_any_numbers(fake: FakeSounddevice) -> None:
    async with room(fake) as (devices, conversion):
        pcm = sound(60)
        pcm[1_000:2_000], pcm[3_000:4_000], pcm[5_000:6_000] = np.nan, 7.0, -np.inf
        heard = await devices.live(pcm)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() == 1.0
    readout = conversion.readout()
    assert readout is not None
    assert readout.chunk_ms.n == 60


async def test_ctrl_c_ends_the_command_with_its_figures(fake: FakeSounddevice) -> None:
    config = llvc_small().without_prenet()
    engine = LlvcEngine(random_voice(0, config), chunk_factor=18)  # 13.5 ms
    said = io.StringIO()
    running = asyncio.create_task(run_live(engine, Console(file=said)))
    while len(fake.streams) < 2:  # noqa: ASYNC110, a fake device tells nobody
        await asyncio.sleep(0.1)
    for _ in range(100):
        await asyncio.sleep(0.0135)
        await asyncio.to_thread(fake.streams[0].hear, sound(2)[:216])
        fake.streams[1].need(216)
    running.cancel()
    readout = await running
    assert readout is not None
    assert readout.chunk_ms.n >= 95
    assert readout.design_ms == 13.75
    assert "stopped" in said.getvalue()
    assert all(stream.is_closed for stream in fake.streams)


@pytest.mark.realtime
async def test_chunks_that_take_longer_than_they_last_are_counted(fake: FakeSounddevice) -> None:
    slow = build_echo(ModelStore.default(), sample_rate=RATE, frame_ms=10, step_ms=15.0)
    async with room(fake, slow) as (_, conversion):
        await asyncio.to_thread(fake.streams[0].hear, np.full(40 * 160, 0.1, np.float32))
        await asyncio.sleep(1.0)
    readout = conversion.readout()
    assert readout is not None
    assert readout.missed == readout.chunk_ms.n > 0
    assert readout.chunk_ms.p50 >= 15.0
    assert readout.dropped >= 40 - readout.chunk_ms.n > 0
