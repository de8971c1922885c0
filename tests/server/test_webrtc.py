"""WebRTC on loopback, with aiortc as the client: audio both ways, events beside it."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import orjson
import pytest

aiortc = pytest.importorskip("aiortc")

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription  # noqa: E402
from av import AudioFrame, AudioResampler  # noqa: E402

from backtalk.audio.pcm import pcm_to_int16_bytes  # noqa: E402
from backtalk.echo import build_echo  # noqa: E402
from backtalk.errors import ProtocolError  # noqa: E402
from backtalk.models.store import ModelStore  # noqa: E402
from backtalk.realtime.outgoing import Outlet  # noqa: E402
from backtalk.realtime.realtime_session import RealtimeSession  # noqa: E402
from backtalk.server.webrtc import EVENTS_CHANNEL, Call, Loudspeaker  # noqa: E402
from backtalk.systems import Agent, FrameAgent, TurnAgent  # noqa: E402
from fakes import FakeResponder, FakeTurnDetector, FakeVad  # noqa: E402

RATE = 48_000
TONE_HZ = 600


class Tone(MediaStreamTrack):
    """A microphone that hears a tone."""

    kind = "audio"

    def __init__(self, level: float) -> None:
        super().__init__()
        self._at, self._level = 0, level

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(0.02)
        time_s = (self._at + np.arange(960)) / RATE
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        pcm = self._level * np.sin(2 * np.pi * TONE_HZ * time_s)
        frame.planes[0].update(pcm_to_int16_bytes(pcm.astype(np.float32)))
        frame.sample_rate, frame.pts = RATE, self._at
        frame.time_base = fractions.Fraction(1, RATE)
        self._at += 960
        return frame


class Caller:
    """A WebRTC client: what it heard, and which events it got."""

    def __init__(self, microphone_level: float) -> None:
        self.peer = RTCPeerConnection()
        self.events: list[dict[str, Any]] = []
        self.heard: list[np.ndarray] = []
        self.channel = self.peer.createDataChannel(EVENTS_CHANNEL)
        self.channel.on("message", lambda text: self.events.append(orjson.loads(text)))
        self.peer.addTrack(Tone(microphone_level))
        self.peer.on("track", self._on_track)
        self._listening: asyncio.Task[None] | None = None

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.ensure_future(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        to_mono = AudioResampler(format="flt", layout="mono", rate=RATE)
        while True:
            try:
                received = await track.recv()
            except aiortc.mediastreams.MediaStreamError:
                return
            self.heard += [np.array(f.to_ndarray()).reshape(-1) for f in to_mono.resample(received)]

    async def call(self, open_session: Callable[[Outlet], RealtimeSession], on_end: Any) -> Call:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        call = Call(open_session, on_end)
        answer = await call.answer(self.peer.localDescription.sdp)
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return call

    async def wait_for(self, kind: str, seconds: float = 10) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while True:
                for event in self.events:
                    if event["type"] == kind:
                        return event
                await asyncio.sleep(0.02)

    def send(self, **event: Any) -> None:
        self.channel.send(orjson.dumps(event).decode())

    async def close(self) -> None:
        await self.peer.close()
        if self._listening is not None:
            await asyncio.gather(self._listening, return_exceptions=True)


def session_with(agent: Agent) -> Callable[[Outlet], RealtimeSession]:
    return lambda outlet: RealtimeSession(agent, "test", outlet, transport="webrtc")


@asynccontextmanager
async def calling(agent: Agent, microphone_level: float = 0.0) -> AsyncIterator[Caller]:
    caller, ended = Caller(microphone_level), []
    call = await caller.call(session_with(agent), lambda: ended.append(1))
    try:
        yield caller
    finally:
        await caller.close()
        await call.end()
        await agent.close()
        assert ended == [1]
        await asyncio.sleep(0.1)


@pytest.mark.realtime
async def test_the_echo_of_a_tone_comes_back_on_the_track_and_not_as_events() -> None:
    async with calling(FrameAgent(build_echo(ModelStore.default())), 0.3) as caller:
        created = await caller.wait_for("session.created")
        assert created["session"]["model"] == "test"
        await asyncio.sleep(2)
        assert not [e for e in caller.events if e["type"] == "response.output_audio.delta"]
        pcm = np.concatenate(caller.heard)[-RATE // 2 :]
        spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
        peak_hz = np.argmax(spectrum) * RATE / len(pcm)
        assert peak_hz == pytest.approx(TONE_HZ, abs=10)
        assert np.sqrt(np.mean(pcm**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.3)


@pytest.mark.realtime
async def test_events_travel_on_the_data_channel_and_the_buffer_is_the_servers() -> None:
    agent = TurnAgent(FakeResponder(), FakeVad(), FakeTurnDetector())
    async with calling(agent) as caller:
        await caller.wait_for("session.created")
        caller.send(type="input_audio_buffer.append", audio="AAAA")
        error = await caller.wait_for("error")
        assert "audio track" in error["error"]["message"]
        caller.channel.send("{not json")
        content = [{"type": "input_text", "text": "hello"}]
        item = {"type": "message", "role": "user", "content": content}
        caller.send(type="conversation.item.create", item=item)
        caller.send(type="response.create")
        await caller.wait_for("output_audio_buffer.stopped")
        kinds = [e["type"] for e in caller.events]
        assert kinds.index("output_audio_buffer.started") < kinds.index("response.done")
        assert kinds.count("error") == 2
        transcript = await caller.wait_for("response.output_audio_transcript.done")
        assert transcript["transcript"].split()[:2] == ["one", "two"]


@pytest.mark.realtime
async def test_an_offer_that_is_none_is_refused_and_leaves_nothing_behind() -> None:
    for offer in ("", "hello", "v=0\r\n", "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"):
        agent = TurnAgent(FakeResponder(), FakeVad(), FakeTurnDetector())
        call = Call(session_with(agent), lambda: None)
        with pytest.raises(ProtocolError, match="SDP offer"):
            await call.answer(offer)
        await agent.close()


@pytest.mark.realtime
async def test_the_track_says_what_was_played_and_falls_silent_when_told_to() -> None:
    played: list[tuple[str, float]] = []
    track = Loudspeaker(24_000, lambda item_id, ms: played.append((item_id, ms)))
    await track.push("a", np.full(1200, 0.5, np.float32))
    frames = [await track.recv() for _ in range(2)]
    assert [f.pts for f in frames] == [0, 960]
    assert played[-1][0] == "a"
    track.drop()
    silent = np.frombuffer(bytes((await track.recv()).planes[0]), np.int16)
    assert not silent.any()
    track.stop()
