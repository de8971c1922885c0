"""The page in a real browser, against a canned server: what it sends, plays and shows."""

from __future__ import annotations

import asyncio
import base64
import json
import wave
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from canned_server import CannedServer, canned_server
from chromium import Page, chromium

pytestmark = pytest.mark.realtime

MICROPHONE_RATE = 48000
REPLIES = [("How far is London?", "About 344 kilometres in a straight line."), ("Stop.", "Good.")]

# The page's sound goes through one analyser more, whose peak tells the test what could be heard.
LISTEN_IN = """
window.peaks = [];
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to === this.context.destination && this instanceof GainNode) {
    const ear = this.context.createAnalyser();
    connect.call(this, ear);
    const wave = new Float32Array(ear.fftSize);
    setInterval(() => {
      ear.getFloatTimeDomainData(wave);
      peaks.push(Math.max(...wave.map(Math.abs)));
    }, 20);
  }
  return connect.call(this, to, ...rest);
};
"""


def write_microphone(path: Path, *spans: tuple[str, float]) -> str:
    """Write what the browser's microphone hears; gives the argument that plays it once.

    Args:
        spans: (`tone` or `silence`, seconds).
    """
    pieces = []
    for kind, seconds in spans:
        t = np.arange(int(seconds * MICROPHONE_RATE)) / MICROPHONE_RATE
        pieces.append(0.3 * np.sin(2 * np.pi * 220 * t) * (kind == "tone"))
    pcm16 = (np.concatenate(pieces) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_RATE)
        file.writeframes(pcm16.tobytes())
    return f"--use-file-for-fake-audio-capture={path}%noloop"


async def wait_for(server: CannedServer, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until the page has sent so many events of a type."""
    async with asyncio.timeout(20), server.news:
        await server.news.wait_for(lambda: len(server.sent(kind)) >= count)
    return server.sent(kind)


def complaints(page: Page) -> list[str]:
    """What the page complained about, without refusals that the test itself asked for."""
    return [line for line in page.complaints if "status of 401" not in line]


async def test_a_spoken_turn_is_heard_shown_and_measured(tmp_path: Path) -> None:
    microphone = write_microphone(
        tmp_path / "microphone.wav", ("silence", 0.5), ("tone", 1.0), ("silence", 20.0)
    )
    async with canned_server(replies=REPLIES) as server, chromium(microphone) as page:
        await page.open(server.url, before=LISTEN_IN)
        await page.click("#talk")
        await page.until("document.querySelectorAll('#waterfall li').length === 1")

        transcript = await page.text("#transcript")
        assert REPLIES[0][0] in transcript
        assert REPLIES[0][1] in transcript
        assert await page.text("#connection-text") == "Connected"
        assert int(await page.text("#ttfa")) == int(await page.text("#p50")) > 0
        assert await page.evaluate("document.querySelectorAll('#waterfall rect').length") == 8
        assert await page.until("Math.max(...peaks) > 0.1"), "nothing came out of the loudspeaker"

        await page.until("document.body.dataset.phase === 'listening'")
        await asyncio.sleep(0.3)  # for the last report
        played_ms = [event["played_ms"] for event in server.sent("backtalk.playout")]
        assert played_ms == sorted(played_ms)
        assert played_ms[-1] == pytest.approx(1000 * server.reply_s, abs=2)
        assert len(played_ms) >= 5
        assert complaints(page) == []
        hosts = {urlsplit(url).netloc for url in page.requests if not url.startswith("data:")}
        assert hosts <= {urlsplit(server.url).netloc, ""}


async def test_the_microphone_arrives_at_24_khz_in_chunks_of_20_ms(tmp_path: Path) -> None:
    microphone = write_microphone(tmp_path / "microphone.wav", ("tone", 20.0))
    async with canned_server() as server, chromium(microphone) as page:
        await page.open(server.url)
        await page.click("#talk")
        appends = await wait_for(server, "input_audio_buffer.append", 60)
    chunks = [np.frombuffer(base64.b64decode(event["audio"]), "<i2") for event in appends]
    assert {len(chunk) for chunk in chunks} == {480}
    spectrum = np.abs(np.fft.rfft(np.concatenate(chunks[10:60]) * np.hanning(50 * 480)))
    assert np.argmax(spectrum) * 24000 / (50 * 480) == pytest.approx(220, abs=2)


async def test_resampling_passes_speech_stops_aliases_and_does_not_mind_the_chunks() -> None:
    async with canned_server() as server, chromium() as page:
        await page.open(server.url)
        result = await page.evaluate(
            """(async () => {
              const { Resampler } = await import("/static/resampler.js");
              const gain = (rate, hz, chunk) => {
                const resampler = new Resampler(rate, 24000);
                const input = Float32Array.from({ length: rate }, (_, i) =>
                  Math.sin((2 * Math.PI * hz * i) / rate));
                const output = [];
                for (let i = 0; i < input.length; i += chunk) {
                  output.push(...resampler.process(input.subarray(i, i + chunk)));
                }
                const middle = output.slice(2000, 22000);
                return [output.length, Math.hypot(...middle) / Math.sqrt(10000)];
              };
              return [48000, 44100, 16000, 24000, 96000].map((rate) => [
                rate, gain(rate, 1000, 128), gain(rate, 1000, 1000), gain(rate, 15000, 128)]);
            })()"""
        )
    for rate, speech, other_chunks, alias in result:
        assert speech[0] == pytest.approx(24000, abs=60)
        assert speech[1] == pytest.approx(1, abs=0.005)
        assert speech == other_chunks
        if rate >= 44100:  # 15 kHz would come out as 9 kHz
            assert alias[1] < 0.0005


async def test_cutting_in_silences_the_reply_and_tells_the_server_what_was_heard(
    tmp_path: Path,
) -> None:
    microphone = write_microphone(
        tmp_path / "microphone.wav",
        ("silence", 0.5), ("tone", 0.8), ("silence", 1.8), ("tone", 0.8), ("silence", 20.0),
    )  # fmt: skip
    async with (
        canned_server(replies=REPLIES, reply_s=6.0) as server,
        chromium(microphone) as page,
    ):
        await page.open(server.url, before=LISTEN_IN)
        await page.click("#talk")
        [truncate] = await wait_for(server, "conversation.item.truncate")
        await asyncio.sleep(0.3)  # the fade, and the 85 ms that one peak looks back
        assert await page.evaluate("Math.max(...peaks.slice(-2))") < 0.01, "it goes on speaking"

        reported_ms = [
            event["played_ms"]
            for event in server.sent("backtalk.playout")
            if event["item_id"] == truncate["item_id"]
        ]
        # 0.5 s end of turn and 0.1 s of thinking lie between the first tone and the reply.
        assert 700 < truncate["audio_end_ms"] < 2200
        assert max(reported_ms) - 1 <= truncate["audio_end_ms"] <= max(reported_ms) + 250
        await page.until("document.querySelector('[data-cut] .unheard') !== null")
        assert complaints(page) == []


async def test_a_lost_socket_is_replaced_and_the_conversation_goes_on() -> None:
    async with canned_server(replies=REPLIES, reply_s=3.0) as server, chromium() as page:
        await page.open(server.url, before=LISTEN_IN)
        await page.evaluate("document.querySelector('#words').focus()")
        await page.type("How far is London?")
        await page.key("Enter", "\r", "keyDown")
        await page.until("document.body.dataset.phase === 'speaking'")
        assert server.session is not None
        await server.session.drop_socket()
        await page.until("document.querySelectorAll('#waterfall li').length === 1")

        assert [query.get("resume") for query in server.queries] == [None, "again-1"]
        assert server.queries[1]["last_event_id"].startswith("event_")
        transcript = await page.text("#transcript")
        assert "How far is London?" in transcript
        assert REPLIES[0][1] in transcript
        await page.until("document.body.dataset.phase === 'listening'")
        await asyncio.sleep(0.3)  # for the last report
        assert server.sent("backtalk.playout")[-1]["played_ms"] == pytest.approx(3000, abs=2)


async def test_holding_space_speaks_and_letting_go_asks_for_the_reply(tmp_path: Path) -> None:
    microphone = write_microphone(tmp_path / "microphone.wav", ("tone", 20.0))
    async with canned_server(replies=REPLIES) as server, chromium(microphone) as page:
        await page.open(server.url)
        await page.evaluate("document.querySelector('input[value=hold]').click()")
        await page.evaluate("document.activeElement.blur()")
        await page.key("Space", " ", "keyDown")
        await wait_for(server, "input_audio_buffer.append", 20)
        assert await page.text("#phase") == "Hearing you"
        await page.key("Space", " ", "keyUp")
        await wait_for(server, "response.create")
        await page.until("document.querySelectorAll('#waterfall li').length === 1")
        await page.until("document.body.dataset.phase === 'listening'")
        kinds = [event["type"] for event in server.received]
        session = server.sent("session.update")[0]["session"]
    assert session["audio"]["input"]["turn_detection"] is None
    assert kinds.index("input_audio_buffer.clear") < kinds.index("input_audio_buffer.append")
    last_append = max(i for i, kind in enumerate(kinds) if kind == "input_audio_buffer.append")
    assert kinds[last_append + 1 : last_append + 3] == [
        "input_audio_buffer.commit",
        "response.create",
    ]


async def test_a_converter_has_steps_instead_of_turns() -> None:
    async with canned_server() as server, chromium() as page:
        await page.open(server.url)
        await page.until("document.querySelector('#system').options.length === 2")
        await page.evaluate(
            "(system => { system.value = 'echo'; system.dispatchEvent(new Event('change')); })"
            "(document.querySelector('#system'))"
        )
        await page.click("#talk")
        await wait_for(server, "input_audio_buffer.append", 5)
        assert server.queries[0]["model"] == "echo"
        assert server.session is not None
        steps = {"step_p50_ms": 4.26, "step_p95_ms": 7.9, "step_p99_ms": 8.1, "floor_ms": 35}
        for late in (2, 1):
            more = {"late_steps": late, "dropped_ms": 20.0}
            await server.session.emit("backtalk.steps.measured", steps=100, **steps, **more)
        await page.until("document.querySelector('#step-late').innerText === '3'")
        assert await page.text("#step-p50") == "4.3 ms"
        assert await page.text("#step-p99") == "8.1 ms"
        assert await page.text("#step-dropped") == "40 ms"
        assert await page.evaluate("!composer.checkVisibility()")
        assert await page.evaluate("!document.querySelector('.latency').checkVisibility()")
        assert complaints(page) == []


async def test_a_full_server_is_said_to_be_full() -> None:
    async with canned_server(is_full=True) as server, chromium() as page:
        await page.open(server.url)
        await page.click("#talk")
        await page.until("!document.querySelector('#notice').hidden")
        assert "full" in await page.text("#notice-text")
        assert await page.text("#connection-text") == "Not connected"
        server.is_full = False
        await page.click("#notice-action")
        await page.until("document.querySelector('#connection-text').innerText === 'Connected'")


async def test_a_microphone_that_is_not_allowed_is_explained_and_typing_still_works() -> None:
    async with (
        canned_server(replies=REPLIES) as server,
        chromium(allow_microphone=False) as page,
    ):
        await page.open(server.url)
        await page.click("#talk")
        await page.until("!document.querySelector('#notice').hidden")
        assert "did not allow the microphone" in await page.text("#notice-text")
        assert server.queries == [], "a place was taken by somebody who cannot speak"
        await page.evaluate("document.querySelector('#words').focus()")
        await page.type("Hello")
        await page.key("Enter", "\r", "keyDown")
        await page.until("document.querySelectorAll('#transcript li').length === 2")


async def test_a_server_with_a_token_is_asked_once_and_the_token_stays_in_the_tab() -> None:
    async with canned_server(token="open-sesame") as server, chromium() as page:
        await page.open(server.url)
        for token in ("wrong", "open-sesame"):
            await page.until("document.querySelector('#token-dialog').open")
            await page.type(token)
            await page.click("#token-form [type=submit]")
            await asyncio.sleep(0.2)
        await page.until("document.querySelector('#system').value === 'cascade'")
        await page.click("#talk")
        await page.until("document.querySelector('#connection-text').innerText === 'Connected'")
        kept = await page.evaluate("[Object.values(sessionStorage), Object.values(localStorage)]")
        assert kept == [["open-sesame"], []]
        assert not any("open-sesame" in url for url in page.requests)
        assert complaints(page) == []


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
async def test_the_page_never_scrolls_sideways(width: int) -> None:
    long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft " * 3
    async with canned_server(replies=[("Say it.", long)]) as server, chromium() as page:
        await page.view(width, 800, phone=width < 500)
        await page.open(server.url)
        await page.evaluate("document.querySelector('#words').focus()")
        await page.type("Say it.")
        await page.key("Enter", "\r", "keyDown")
        await page.until("document.querySelectorAll('#waterfall li').length === 1")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        outside = await page.evaluate(
            "[...document.querySelectorAll('main *')].filter(e => !e.closest('.unseen')"
            f" && e.getBoundingClientRect().right > {width} + 0.5).map(e => e.id || e.className)"
        )
        assert outside == []


async def test_every_control_has_a_name_and_is_reached_by_the_keyboard() -> None:
    async with canned_server() as server, chromium() as page:
        await page.open(server.url)
        reached = []
        for _ in range(20):
            await page.key("Tab", "Tab", "keyDown")
            reached.append(
                await page.evaluate(
                    "[document.activeElement.id,"
                    " getComputedStyle(document.activeElement).outlineStyle]"
                )
            )
        ids = [name for name, _ in reached]
        wanted = ["theme", "talk", "mute", "words", "system", "voice", "microphone", "loudspeaker"]
        assert [name for name in ids if name in wanted][: len(wanted)] == wanted
        assert all(outline != "none" for name, outline in reached if name in wanted)
        nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
        nameless = [
            node
            for node in nodes
            if node.get("role", {}).get("value")
            in ("button", "textbox", "combobox", "radio", "meter")
            and not node.get("name", {}).get("value")
        ]
        assert nameless == [], json.dumps(nameless)[:500]
