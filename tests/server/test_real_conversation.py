"""The real default agent behind a server, and real clients that ask it recorded questions."""

from __future__ import annotations

import asyncio
import fractions
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
from openai_person import CLIENT_RATE, Person, person
from running import Running, running

from backtalk.audio.files import read_audio
from backtalk.audio.pcm import pcm_to_int16_bytes
from backtalk.audio.resample import resample
from backtalk.cascade.speakable import speakable
from backtalk.cascade.whisper_asr import build_whisper_asr
from backtalk.models.store import ModelStore
from backtalk.server.agent_pool import AgentPool
from backtalk.systems import build_agent
from fakes import RATE, silence

pytestmark = [pytest.mark.models, pytest.mark.realtime, pytest.mark.timeout(180)]

DEMO = Path(__file__).parents[2] / "src" / "backtalk" / "demo"
MAX_WER = 0.2


def question(number: int) -> np.ndarray:
    audio = read_audio(next(DEMO.glob(f"{number}-*.flac")))
    return resample(audio.pcm, audio.sample_rate, RATE)


@lru_cache(1)
def listener() -> Any:
    """Somebody who writes down what they hear; another model than the agent's own."""
    return build_whisper_asr(ModelStore.default(), model="whisper-base")


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", speakable(text).lower()))


def wer(written: str, heard: np.ndarray, sample_rate: int) -> float:
    """Share of the written words that are not to be heard."""
    recognised = listener().transcribe(resample(heard, sample_rate, RATE)).text
    assert words(written)
    return float(jiwer.wer(words(written), words(recognised)))


@asynccontextmanager
async def real_server() -> AsyncIterator[Running]:
    agent = build_agent(max_tokens=40, temperature=0.0)
    async with running(AgentPool({"cascade": agent})) as server:
        yield server


async def ask(someone: Person, number: int) -> Any:
    """Ask a question and be silent until it is answered; the response."""
    answered = len(someone.of("response.done"))
    await someone.say(question(number))
    quiet = asyncio.create_task(be_silent(someone))
    try:
        done = await someone.until("response.done", count=answered + 1, within_s=20)
    finally:
        quiet.cancel()
        await asyncio.gather(quiet, return_exceptions=True)
    return done.response


async def be_silent(someone: Person) -> None:
    while True:
        await someone.say(silence(200))


async def test_what_is_heard_of_a_reply_is_what_it_says_and_cutting_in_ends_it() -> None:
    async with real_server() as server, person(server) as someone:
        response = await ask(someone, 2)
        assert response.status == "completed"
        heard = someone.of("conversation.item.input_audio_transcription.completed")[-1].transcript
        assert words(heard) == "wait what is the capital of france"
        written = response.output[0].content[0].transcript
        assert wer(written, someone.heard(), CLIENT_RATE) <= MAX_WER

        await someone.say(question(1), silence(3000))
        await someone.until("response.created", count=2)
        response = await ask(someone, 2)
        assert response.status == "cancelled"
        assert response.status_details.reason == "turn_detected"
        item_id = response.output[0].id
        await someone.connection.conversation.item.truncate(
            item_id=item_id, content_index=0, audio_end_ms=1000
        )
        await someone.connection.conversation.item.retrieve(item_id=item_id)
        kept = (await someone.until("conversation.item.retrieved")).item.content[0].transcript
        cut = response.output[0].content[0].transcript
        assert len(words(kept).split()) < len(words(cut).split())
        assert not someone.of("error")


async def test_a_call_is_answered_in_words_that_can_be_understood() -> None:
    aiortc = pytest.importorskip("aiortc")
    import httpx
    from test_webrtc import RATE as CALL_RATE
    from test_webrtc import Caller

    caller = Caller(microphone_level=0.0)
    microphone = caller.peer.getSenders()[0].track
    said = resample(np.concatenate([silence(500), question(2)]), RATE, CALL_RATE)
    speak_into(microphone, said)
    async with real_server() as server, httpx.AsyncClient() as http:
        await caller.peer.setLocalDescription(await caller.peer.createOffer())
        answer = await http.post(
            f"http://{server.address}/v1/realtime/calls?model=cascade",
            content=caller.peer.localDescription.sdp,
            headers={"content-type": "application/sdp"},
        )
        assert answer.status_code == 201
        await caller.peer.setRemoteDescription(aiortc.RTCSessionDescription(answer.text, "answer"))
        await caller.wait_for("output_audio_buffer.stopped", 30)
        done = await caller.wait_for("response.done")
        await asyncio.sleep(0.3)
        heard = np.concatenate(caller.heard)
        await caller.close()
        await asyncio.sleep(0.5)
    assert done["response"]["status"] == "completed"
    written = done["response"]["output"][0]["content"][0]["transcript"]
    loud = np.flatnonzero(np.abs(heard) > 0.01)
    assert wer(written, heard[max(0, loud[0] - CALL_RATE // 5) :], CALL_RATE) <= MAX_WER


def speak_into(track: Any, pcm: np.ndarray) -> None:
    """Let a caller's microphone hear this at 48 kHz, and then silence."""
    from av import AudioFrame

    size, at = 960, 0

    async def recv() -> AudioFrame:
        nonlocal at
        await asyncio.sleep(0.02)
        piece = np.zeros(size, np.float32)
        part = pcm[at : at + size]
        piece[: len(part)] = part
        frame = AudioFrame(format="s16", layout="mono", samples=size)
        frame.planes[0].update(pcm_to_int16_bytes(piece))
        frame.sample_rate, frame.pts = 48_000, at
        frame.time_base = fractions.Fraction(1, 48_000)
        at += size
        return frame

    track.recv = recv
