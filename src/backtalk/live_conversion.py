"""Microphone to loudspeaker through a converter, and what of the delay is whose.

A chunk is heard as soon as it is converted: the loudspeaker's queue holds what the devices' clocks
and this machine's hiccups need and no more. When a device stops, the conversion begins anew once
it has returned.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtalk.audio.device import Microphone, Speaker, rescan_devices
from backtalk.errors import AudioError, StageError
from backtalk.latency.percentiles import Percentiles, percentiles
from backtalk.session.frame_engine import FrameEngine
from backtalk.session.frame_session import FrameSession
from backtalk.stream.clock import now_s
from backtalk.stream.events import Overrun, ReplyAudio, SessionError

READOUT_EVERY_S = 1.0
RECENT_CHUNKS = 1000
"""Chunks that a readout while it runs is about."""
RETRY_S = 1.0
MAX_MICROPHONE_MS = 200.0
MAX_QUEUED_MS = 80.0
"""Sound that waits for the loudspeaker; a chunk that would wait longer is left out."""


@dataclass(frozen=True, slots=True)
class LiveReadout:
    """What a live conversion costs.

    Attributes:
        chunk_ms: from a chunk's arrival to its conversion going to the loudspeaker, ms.
        missed: chunks that took longer than they last.
        dropped: chunks that were never heard: too many waited, before or behind the converter.
        gaps: times the loudspeaker had nothing to play.
        design_ms: a chunk and the converter's lookahead, which no computer removes.
        queue_ms: median wait for the loudspeaker.
        devices_ms: what the drivers of microphone and loudspeaker say they take, and resampling to
            and from their rates. Drivers may count a part of the chunk again.
    """

    chunk_ms: Percentiles
    missed: int
    dropped: int
    gaps: int
    design_ms: float
    queue_ms: float
    devices_ms: float

    @property
    def mouth_to_ear_ms(self) -> float:
        """The sum of what a sound has to pass."""
        return self.design_ms + self.chunk_ms.p50 + self.queue_ms + self.devices_ms

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "chunk_ms": self.chunk_ms.as_dict(2),
            "missed_chunks": self.missed,
            "dropped_chunks": self.dropped,
            "gaps": self.gaps,
            "design_ms": round(self.design_ms, 2),
            "queue_ms": round(self.queue_ms, 1),
            "devices_ms": round(self.devices_ms, 1),
            "mouth_to_ear_ms": round(self.mouth_to_ear_ms, 1),
        }


class LiveConversion:
    """Converts what the microphone hears until it is cancelled.

    Args:
        engine: of the converter, warm; a row of it is taken.
        on_readout: told every second.
        on_stop: told, in a line, when a device has stopped and is waited for.
    """

    def __init__(
        self,
        engine: FrameEngine,
        on_readout: Callable[[LiveReadout], None] = lambda readout: None,
        on_stop: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._engine, self._spec = engine, engine.spec
        self._on_readout, self._on_stop = on_readout, on_stop
        self._chunk_ms, self._queue_ms = array("f"), array("f")
        self._missed = self._dropped = self._gaps = 0
        self._devices_ms = 0.0
        self._came_s: deque[float] = deque()

    def readout(self, chunks: int | None = None) -> LiveReadout | None:
        """Of the last `chunks`, or of all; None before the first was heard."""
        first = 0 if chunks is None else -chunks
        chunk_ms, queue_ms = (percentiles(ms[first:]) for ms in (self._chunk_ms, self._queue_ms))
        if chunk_ms is None:
            return None
        spec = self._spec
        return LiveReadout(
            chunk_ms,
            self._missed,
            self._dropped,
            self._gaps,
            spec.frame_ms + 1000.0 * spec.lookahead_samples / spec.sample_rate,
            0.0 if queue_ms is None else queue_ms.p50,
            self._devices_ms,
        )

    async def run(self) -> None:
        """Convert, and begin anew when a device that stopped has returned.

        Raises:
            AudioError: a device could not be opened in the first place.
            StageError: the converter broke.
        """
        has_begun = False
        while True:
            try:
                async with self._microphone() as microphone, self._speaker() as speaker:
                    has_begun = True
                    await self._convert(microphone, speaker)
            except AudioError as error:
                if not has_begun:
                    raise
                self._on_stop(str(error))
            await asyncio.sleep(RETRY_S)
            await asyncio.to_thread(rescan_devices)

    def _microphone(self) -> Microphone:
        rate, frame_ms = self._spec.sample_rate, self._spec.frame_ms
        return Microphone(rate, frame_ms, max_queued_ms=MAX_MICROPHONE_MS)

    def _speaker(self) -> Speaker:
        return Speaker(self._spec.sample_rate)

    async def _convert(self, microphone: Microphone, speaker: Speaker) -> None:
        """Until a device stops."""
        self._devices_ms = microphone.latency_ms + speaker.latency_ms
        self._came_s.clear()
        gaps_before = self._gaps
        session = FrameSession(self._engine)
        listening = asyncio.create_task(self._listen(session, speaker))
        speaker.play(np.zeros(self._spec.frame_size, np.float32))  # what the clocks may differ by
        read_out_at_s = now_s() + READOUT_EVERY_S
        try:
            async for block in microphone:
                if listening.done():
                    break
                self._came_s.append(now_s())
                await session.feed(block)
                self._gaps = gaps_before + speaker.underruns
                if now_s() >= read_out_at_s and (readout := self.readout(RECENT_CHUNKS)):
                    read_out_at_s += READOUT_EVERY_S
                    self._on_readout(readout)
        finally:
            self._dropped += microphone.dropped_blocks
            await session.close()
            await listening

    async def _listen(self, session: FrameSession, speaker: Speaker) -> None:
        async for event in session.events():
            match event:
                case ReplyAudio():
                    self._play(event.pcm, speaker)
                case Overrun():
                    self._dropped += event.frames
                    self._arrivals_s(event.frames)
                case SessionError():
                    raise StageError(event.stage, event.message)

    def _play(self, pcm: np.ndarray, speaker: Speaker) -> None:
        for came_s in self._arrivals_s(pcm.size // self._spec.frame_size):
            took_ms = 1000.0 * (now_s() - came_s)
            self._chunk_ms.append(took_ms)
            self._missed += took_ms > self._spec.frame_ms
        queued_ms = 1000.0 * speaker.queued_samples / speaker.sample_rate
        self._queue_ms.append(queued_ms)
        if queued_ms > MAX_QUEUED_MS:
            self._dropped += 1
        else:
            speaker.play(pcm)

    def _arrivals_s(self, chunks: int) -> list[float]:
        """When the oldest chunks came, which are on their way no more."""
        return [self._came_s.popleft() for _ in range(min(chunks, len(self._came_s)))]
