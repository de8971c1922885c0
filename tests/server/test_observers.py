"""Recordings and spans of what happens in sessions."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import numpy as np
import pytest

from backtalk.audio.files import read_audio
from backtalk.latency.record import TurnLatency
from backtalk.realtime.observer import SessionObserver
from backtalk.realtime.outgoing import Outgoing, OutgoingAudio
from backtalk.realtime.realtime_session import RealtimeSession
from backtalk.server.recording import SessionRecording, finish_recordings
from backtalk.server.tracing import TurnSpans
from backtalk.stream.events import Event, ReplyAudio, TurnMeasured
from backtalk.stream.outbox import Outbox
from backtalk.systems import TurnAgent
from fakes import FakeResponder, FakeTurnDetector, FakeVad, silence, word


class Notes:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.samples = 0
        self.events: list[Event] = []
        self.closings = 0

    def heard(self, pcm: np.ndarray, sample_rate: int) -> None:
        self.samples += len(pcm)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def closed(self) -> None:
        self.closings += 1


def agent() -> TurnAgent:
    return TurnAgent(FakeResponder(), FakeVad(), FakeTurnDetector())


async def hold(observer: SessionObserver) -> None:
    """Say hello to an observed session and hear its reply out."""
    outbox: Outbox[Outgoing] = Outbox(audio_type=OutgoingAudio)
    rt = RealtimeSession(agent(), "cascade", outbox, observers=lambda session: [observer])

    async def listen() -> None:
        async for _ in outbox.read():
            pass

    listening = asyncio.create_task(listen())
    pcm = np.concatenate([word("hello", 400), silence(3000)])
    for at in range(0, len(pcm), 320):
        await rt.feed(pcm[at : at + 320])
        await asyncio.sleep(0.02)
    await rt.close()
    await listening


async def test_an_observer_sees_what_was_said_on_both_sides_and_the_end() -> None:
    notes = Notes()
    await hold(notes)
    assert notes.samples == 16 * 3400
    assert any(isinstance(event, TurnMeasured) for event in notes.events)
    assert notes.closings == 1


async def test_a_recording_has_the_user_left_and_the_agent_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        recording = SessionRecording(tmp_path, 24000)
    assert str(tmp_path) in caplog.text
    await hold(recording)
    await finish_recordings()
    (path,) = tmp_path.iterdir()  # noqa: ASYNC240
    import soundfile

    stereo, rate = soundfile.read(path)
    assert stereo.shape[1] == 2
    user, reply = np.abs(stereo).max(axis=0)
    assert user > 0.1
    assert reply > 0.1
    loud = np.flatnonzero(np.abs(stereo[:, 1]) > 0.1)
    assert loud[0] > 0.4 * rate, "the reply comes after the question"
    assert read_audio(path).pcm.size


async def test_a_turns_spans_add_up_and_carry_no_words() -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    exporter = export.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = TurnSpans(provider.get_tracer("test"), "cascade")
    await asyncio.sleep(10)
    stages = {"end_of_turn_wait": 100.0, "asr": 50.0, "hold": 25.0, "leading_silence": 5.0}
    spans.event(ReplyAudio(9.0, 1, 0, np.zeros(10, np.float32)))
    spans.event(TurnMeasured(9.9, 1, TurnLatency(stages, ttfa_ms=180.0)))
    done = {span.name: span for span in exporter.get_finished_spans()}
    provider.shutdown()
    assert set(done) == {"backtalk.turn", *stages}
    turn = done["backtalk.turn"]
    lasted = {name: (done[name].end_time - done[name].start_time) / 1e6 for name in stages}
    assert lasted == pytest.approx(stages, abs=1)
    assert all(done[name].parent.span_id == turn.context.span_id for name in stages)
    assert turn.attributes == {
        "backtalk.system": "cascade",
        "backtalk.ttfa_ms": 180.0,
        "backtalk.underruns": 0,
        "backtalk.speculations": 0,
    }
