"""A person at the page and a converter: they talk, and hear the other voice while they talk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from chromium import chromium
from running import running
from test_page import LISTEN_IN, write_microphone

from backtalk.llvc.llvc_system import build_llvc
from backtalk.models.store import ModelStore
from backtalk.server.agent_pool import AgentPool
from backtalk.systems import FrameAgent

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(120)]

FIGURES = "Object.fromEntries([...document.querySelectorAll('#steps div')].map((e) => \
[e.querySelector('dt').innerText, e.querySelector('dd').innerText]))"


def first_ms(text: str) -> float:
    return float(text.removesuffix(" ms"))


async def test_a_person_talks_to_the_page_and_hears_the_other_voice_meanwhile(
    tmp_path: Path,
) -> None:
    microphone = write_microphone(
        tmp_path / "microphone.wav", ("silence", 0.5), ("tone", 30.0), ("silence", 30.0)
    )
    llvc = FrameAgent(build_llvc(ModelStore(tmp_path), random_weights=0), slots=2)
    async with running(AgentPool({"llvc": llvc})) as server, chromium(microphone) as page:
        await page.view(1280, 800)
        await page.open(f"http://{server.address}/", before=LISTEN_IN)
        await page.until("document.querySelector('#about').innerText === 'llvc random-0'")
        assert "other voice" in await page.text("#empty")
        await page.click("#talk")
        await page.until("document.querySelector('#step-p50').innerText !== '–'", 40)
        assert await page.until("Math.max(...peaks.slice(-20)) > 0.02", 40), "nothing is heard"
        await asyncio.sleep(4)  # the figures settle
        figures = await page.evaluate(FIGURES)
        assert "hear yourself in the other voice" in await page.text("#phase")
        assert await page.evaluate("document.querySelector('#transcript').hidden")
        assert await page.evaluate("!document.querySelector('.latency').checkVisibility()")
        if folder := os.environ.get("BACKTALK_SCREENSHOTS"):
            await page.screenshot(Path(folder) / "converter.png")

        await page.click("#mute")
        await page.until("Math.max(...peaks.slice(-100)) < 1", 20)
        await page.click("#talk")
        await page.until("document.querySelector('#connection-text').innerText === 'Not connected'")
        assert page.complaints == []
    assert first_ms(figures["Delay by design"]) == 14.0
    # No upper bounds: the machine may have other things to do.
    assert first_ms(figures["Step, median"]) > 0.1
    assert first_ms(figures["Mouth to ear"]) > 30.0
    assert int(figures["Late steps"]) >= 0


async def test_the_age_of_sound_is_counted_in_samples(tmp_path: Path) -> None:
    llvc = FrameAgent(build_llvc(ModelStore(tmp_path), random_weights=0), slots=2)
    async with running(AgentPool({"llvc": llvc})) as server, chromium() as page:
        await page.open(f"http://{server.address}/")
        ages = await page.evaluate(
            """(async () => {
              const { LiveDelay } = await import("/static/live-delay.js");
              const { samplesIn, toBase64 } = await import("/static/pcm.js");
              const delay = new LiveDelay();
              const ages = [delay.ms];
              for (let n = 1; n <= 200; n++) {
                delay.sent(480);
                if (n > 3) delay.received(480); // three chunks are always on their way
                if (n === 50) delay.dropped(20); // and then two
              }
              ages.push(delay.ms);
              delay.lose();
              delay.received(480);
              ages.push(delay.ms);
              delay.reset();
              delay.sent(480);
              delay.received(480);
              const counts = [1, 2, 3, 480].map((n) => samplesIn(toBase64(new Int16Array(n))));
              return [...ages, delay.ms, counts];
            })()"""
        )
    assert ages == [None, pytest.approx(40, abs=2), None, pytest.approx(0, abs=2), [1, 2, 3, 480]]
