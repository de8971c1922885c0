"""A person at the page and the real default agent: heard, answered, interrupted, recorded.

With BACKTALK_SCREENSHOTS=FOLDER the pictures in docs/page are taken again.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import wave
from pathlib import Path

import jiwer
import numpy as np
import pytest
from chromium import Page, chromium
from running import running

from backtalk.audio.files import read_audio
from backtalk.audio.level import first_audible_sample
from backtalk.audio.pcm import pcm_from_int16_bytes, pcm_to_int16_bytes
from backtalk.audio.resample import resample
from backtalk.cascade.speakable import speakable
from backtalk.cascade.whisper_asr import build_whisper_asr
from backtalk.models.store import ModelStore
from backtalk.server.agent_pool import AgentPool
from backtalk.systems import build_agent

pytestmark = [pytest.mark.models, pytest.mark.realtime, pytest.mark.timeout(180)]

DEMO = Path(__file__).parents[2] / "src" / "backtalk" / "demo"
MICROPHONE_RATE = 48_000
PAGE_RATE = 24_000
CUT_IN_S = 5.0
"""After the end of the first question; its reply takes longer than that, however slow the start."""

# Everything that goes to the loudspeaker is kept as well.
RECORD = """
window.recorded = [];
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to === this.context.destination && this instanceof GainNode) {
    const tap = this.context.createScriptProcessor(4096, 1, 1);
    tap.onaudioprocess = ({ inputBuffer }) => recorded.push(inputBuffer.getChannelData(0).slice());
    connect.call(this, tap);
    connect.call(tap, to);
  }
  return connect.call(this, to, ...rest);
};
window.recordedPcm16 = () => {
  const pcm = Int16Array.from(recorded.flatMap((b) => [...b]), (x) => Math.round(x * 32767));
  let text = "";
  for (const byte of new Uint8Array(pcm.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
};
"""


def microphone_of(path: Path) -> tuple[str, float]:
    """Write what is spoken into the microphone; the browser's argument, and when all is said."""

    def silence(seconds: float) -> np.ndarray:
        return np.zeros(round(seconds * MICROPHONE_RATE), np.float32)

    def question(number: int) -> np.ndarray:
        audio = read_audio(next(DEMO.glob(f"{number}-*.flac")))
        return resample(audio.pcm, audio.sample_rate, MICROPHONE_RATE)

    said = np.concatenate([silence(2), question(1), silence(CUT_IN_S), question(2)])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_RATE)
        file.writeframes(pcm_to_int16_bytes(np.concatenate([said, silence(60)])))
    return f"--use-file-for-fake-audio-capture={path}%noloop", len(said) / MICROPHONE_RATE


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", speakable(text).lower()))


async def take_pictures(page: Page, folder: Path) -> None:
    for scheme in ("light", "dark"):
        await page.prefer(color_scheme=scheme)
        for name, width, height in (("desktop", 1280, 800), ("phone", 390, 844)):
            await page.view(width, height, phone=name == "phone")
            await asyncio.sleep(0.3)
            await page.screenshot(folder / f"{name}-{scheme}.png")


async def test_a_person_talks_to_the_page_interrupts_it_and_hears_the_answer(
    tmp_path: Path,
) -> None:
    microphone, said_s = microphone_of(tmp_path / "microphone.wav")
    agent = build_agent(max_tokens=80, temperature=0.0)
    async with running(AgentPool({"cascade": agent})) as server, chromium(microphone) as page:
        await page.view(1280, 800)
        await page.open(f"http://{server.address}/", before=RECORD)
        await page.click("#talk")
        await page.until("document.querySelectorAll('#waterfall li').length >= 2", said_s + 30)
        await page.until("document.body.dataset.phase === 'listening'", 30)
        transcript = await page.text("#transcript")
        unheard = await page.evaluate(
            "[...document.querySelectorAll('[data-cut] .unheard')].map((e) => e.innerText)"
        )
        data = base64.b64decode(await page.evaluate("recordedPcm16()"))
        if folder := os.environ.get("BACKTALK_SCREENSHOTS"):
            await take_pictures(page, Path(folder))
        complaints = [c for c in page.complaints if "ScriptProcessor" not in c]
        assert complaints == []

    heard = resample(pcm_from_int16_bytes(data), PAGE_RATE, 16_000)
    # The second reply is what follows the longest silence between two sounds.
    loud = np.flatnonzero(np.abs(heard) > 10 ** (-45 / 20))
    gap = int(np.argmax(np.diff(loud)))
    reply_2 = heard[loud[gap + 1] - 1600 :]
    assert first_audible_sample(reply_2, 16_000) is not None
    asr = build_whisper_asr(ModelStore.default(), model="whisper-base")
    recognised = asr.transcribe(reply_2).text
    written = transcript.split("capital of France?")[1]
    written = re.sub(r"(Agent|\d+ ms)", " ", written)
    assert "rainbows" in transcript
    assert len(unheard) == 1
    assert words(unheard[0]), "the first reply was heard to its end"
    assert jiwer.wer(words(written), words(recognised)) <= 0.2, (written, recognised)
