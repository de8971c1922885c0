"""A Realtime session over WebRTC: audio on a track each way, events on a data channel.

The server owns the playback buffer here, so it knows to the sample what the client can have heard.
Needs the extra `webrtc` (aiortc, which brings FFmpeg's libraries).
"""

from __future__ import annotations

import asyncio
import fractions
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler

from backtalk.audio.pcm import pcm_to_int16_bytes
from backtalk.audio.resample import StreamingResampler
from backtalk.errors import ProtocolError
from backtalk.realtime import wire
from backtalk.realtime.client_events import handle_event
from backtalk.realtime.outgoing import Outgoing, OutgoingAudio, Outlet
from backtalk.realtime.realtime_session import RealtimeSession
from backtalk.stream.outbox import Outbox

_log = logging.getLogger(__name__)

EVENTS_CHANNEL = "oai-events"
TRACK_RATE = 48_000
FRAME_SAMPLES = TRACK_RATE // 50
MAX_BUFFERED_MS = 120.0
"""Audio taken from the session ahead of its sending; the rest waits where it can be taken back."""

CONNECT_S = 30.0
"""A call whose events channel is not open by then is ended."""


class Loudspeaker(MediaStreamTrack):
    """The track to the client: 20 ms every 20 ms, silence where there is nothing to say.

    Args:
        sample_rate: Hz of what `push` is given.
        on_played: told how much of an item has been sent, in ms.
    """

    kind = "audio"

    def __init__(self, sample_rate: int, on_played: Callable[[str, float], None]) -> None:
        super().__init__()
        self._resampler = StreamingResampler(sample_rate, TRACK_RATE)
        self._pieces: deque[tuple[str, np.ndarray]] = deque()
        self._buffered = 0
        self._room = asyncio.Event()
        self._room.set()
        self._item_id, self._played = "", 0
        self._on_played = on_played
        self._began_s: float | None = None
        self._samples = 0

    async def push(self, item_id: str, pcm: np.ndarray) -> None:
        """Queue float32 [T] of an item once there is room for it."""
        await self._room.wait()
        converted = self._resampler.push(pcm)
        if len(converted):
            self._pieces.append((item_id, converted))
            self._buffered += len(converted)
        if 1000.0 * self._buffered / TRACK_RATE >= MAX_BUFFERED_MS:
            self._room.clear()

    def drop(self) -> None:
        """Fall silent at once."""
        self._pieces.clear()
        self._buffered = 0
        self._room.set()

    async def recv(self) -> AudioFrame:
        """The next 20 ms, at the moment they are due."""
        if self._began_s is None:
            self._began_s = time.monotonic()
        due_s = self._began_s + self._samples / TRACK_RATE
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        pcm = self._take(FRAME_SAMPLES)
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(pcm_to_int16_bytes(pcm))
        frame.sample_rate, frame.pts = TRACK_RATE, self._samples
        frame.time_base = fractions.Fraction(1, TRACK_RATE)
        self._samples += FRAME_SAMPLES
        return frame

    def _take(self, samples: int) -> np.ndarray:
        taken = np.zeros(samples, np.float32)
        at = 0
        while at < samples and self._pieces:
            item_id, pcm = self._pieces.popleft()
            if item_id != self._item_id:
                self._item_id, self._played = item_id, 0
            part = pcm[: samples - at]
            taken[at : at + len(part)] = part
            at += len(part)
            self._played += len(part)
            self._buffered -= len(part)
            if len(part) < len(pcm):
                self._pieces.appendleft((item_id, pcm[len(part) :]))
        if at:
            self._on_played(self._item_id, 1000.0 * self._played / TRACK_RATE)
            if 1000.0 * self._buffered / TRACK_RATE < MAX_BUFFERED_MS:
                self._room.set()
        return taken


class Call:
    """One WebRTC connection and its session.

    Args:
        open_session: makes the session, which ends with the call.
        on_end: called once, when all is over.
    Raises:
        BacktalkError: what `open_session` raises.
    """

    def __init__(
        self, open_session: Callable[[Outlet], RealtimeSession], on_end: Callable[[], None]
    ) -> None:
        self._outbox: Outbox[Outgoing] = Outbox(audio_type=OutgoingAudio)
        self.session = session = open_session(self._outbox)
        self._on_end = on_end
        self._peer = RTCPeerConnection()
        self._loudspeaker = Loudspeaker(session.sample_rate_out, session.played)
        self._channel: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._peer.on("track", self._on_track)
        self._peer.on("datachannel", self._on_channel)
        self._peer.on("connectionstatechange", self._on_state)

    async def answer(self, offer_sdp: str) -> str:
        """Accept the client's offer.

        Returns:
            The SDP answer.
        Raises:
            ProtocolError: the offer is no SDP, or has no audio.
        """
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
        except Exception as error:  # aiortc raises many kinds for what it cannot read
            await self.end()
            raise ProtocolError("invalid_sdp", f"the SDP offer cannot be used: {error}") from error
        if not any(t.kind == "audio" for t in self._peer.getTransceivers()):
            await self.end()
            raise ProtocolError("invalid_sdp", "the SDP offer has no audio line")
        self._peer.addTrack(self._loudspeaker)
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        self._start(self._end_in_time())
        return str(self._peer.localDescription.sdp)

    async def end(self) -> None:
        """Hang up, and wait until all is over. Safe to call twice."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._loudspeaker.stop()
        await self._peer.close()
        await self.session.close()
        self._on_end()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_in_time(self) -> None:
        """End it if nobody comes, and when it has lasted as long as a session may."""
        await asyncio.sleep(CONNECT_S)
        if self._channel is not None:
            await asyncio.sleep(max(0.0, self.session.limits.session_s - CONNECT_S))
        await self.end()

    def _on_state(self) -> None:
        if self._peer.connectionState in ("failed", "closed") and self._ending is None:
            self._start(self.end())

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._start(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        """The client's microphone, as long as it sends."""
        to_mono = AudioResampler(format="flt", layout="mono", rate=TRACK_RATE)
        resampler = StreamingResampler(TRACK_RATE, self.session.sample_rate_in)
        while True:
            try:
                received = await track.recv()
            except MediaStreamError:
                return
            if not isinstance(received, AudioFrame):
                continue
            for frame in to_mono.resample(received):
                pcm = np.asarray(frame.to_ndarray(), np.float32).reshape(-1)
                await self.session.feed(resampler.push(np.nan_to_num(pcm)))

    def _on_channel(self, channel: Any) -> None:
        if channel.label != EVENTS_CHANNEL or self._channel is not None:
            return
        self._channel = channel
        inbox: asyncio.Queue[Any] = asyncio.Queue(256)

        def take(message: Any) -> None:
            if inbox.full():
                self._start(self.end())
            else:
                inbox.put_nowait(message)

        channel.on("message", take)
        channel.on("close", lambda: self._start(self.end()))
        self._start(self._read(inbox))
        self._start(self._write())

    async def _read(self, inbox: asyncio.Queue[Any]) -> None:
        while True:
            message = await inbox.get()
            try:
                event = wire.decode(message, self.session.limits)
            except ProtocolError as error:
                self.session.refuse(error)
            else:
                await handle_event(self.session, event)

    async def _write(self) -> None:
        try:
            async for event in self._outbox.read():
                if isinstance(event, OutgoingAudio):
                    await self._loudspeaker.push(event.item_id, event.pcm)
                    continue
                if event["type"] == "output_audio_buffer.cleared":
                    self._loudspeaker.drop()
                self._channel.send(wire.encode(event).decode())
        except Exception:
            _log.exception("a WebRTC call failed and is ended")
        await self.end()
