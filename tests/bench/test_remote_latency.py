"""First audio of somebody else's server, measured as its client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backtalk.audio.files import Audio
from backtalk.bench.echo_stream import Target
from backtalk.bench.realtime_client import ConnectError
from backtalk.bench.remote_latency import (
    draw_remote_latency,
    measure_remote_latency,
    remote_report,
)
from backtalk.bench.talk_load import run_talk_load, talk_report
from backtalk.cli.main import app
from backtalk.talk import Exchange, Question
from bench.fake_talker import RATE, TONE, FakeTalker

pytestmark = pytest.mark.realtime
QUESTION = Question("tone", Audio(TONE[: RATE // 2], RATE))


async def measure(
    server: FakeTalker, questions: int = 1, turn_detection: str | None = None
) -> tuple[list[Exchange], dict[str, object]]:
    shown: list[Exchange] = []
    async with server.run():
        target = Target(server.url, "some-model")
        result = await measure_remote_latency(
            target, turn_detection, None, [QUESTION] * questions, shown.append
        )
    assert shown == result.exchanges
    return shown, remote_report(target, result)


async def test_first_audio_runs_from_the_last_loud_sample_sent_to_the_first_received() -> None:
    (first, second), found = await measure(FakeTalker(answer_s=0.2, lead_s=0.1), questions=2)
    for exchange in (first, second):
        assert exchange.ttfa_ms is not None
        assert 590 < exchange.ttfa_ms < 700, "300 ms of silence, 200 to answer, 100 of lead"
        assert exchange.transcript == "what time is it"
        assert exchange.reply == "It is four."
        assert exchange.errors == []
        assert not exchange.was_cut
    (variant,) = found["variants"]  # type: ignore[misc]
    assert variant["answered"] == 2
    assert variant["stages_ms"]["ttfa"]["n"] == 2


async def test_stages_are_asked_for_and_made_to_add_up() -> None:
    server = FakeTalker(stages_ms={"end_of_turn_wait": 300.0, "tts_first_audio": 150.0})
    (exchange,), _ = await measure(server)
    stages = exchange.stages_ms()
    assert {"include": ["backtalk.latency"]}.items() <= server.asked[1].items()
    assert stages["tts_first_audio"] == 150.0
    assert stages["transport"] > 30
    assert exchange.ttfa_ms == pytest.approx(sum(stages.values()))
    assert exchange.latency is not None
    assert exchange.latency.rtf == 0.25


async def test_a_turn_detection_can_be_asked_for() -> None:
    server = FakeTalker()
    await measure(server, turn_detection="semantic_vad")
    wanted = {"input": {"turn_detection": {"type": "semantic_vad"}}}
    assert server.asked[-1] == {"type": "realtime", "audio": wanted}


async def test_a_reply_that_fails_is_reported() -> None:
    (exchange,), found = await measure(FakeTalker(fails=True))
    assert exchange.errors == ["the reply failed: server_error: no model"]
    assert found["variants"][0]["answered"] == 0  # type: ignore[index]


async def test_a_full_server_is_one_line() -> None:
    async with FakeTalker(slots=0).run() as server:
        with pytest.raises(ConnectError, match="opened no session: at_capacity: full"):
            await measure_remote_latency(Target(server.url), None, None, [QUESTION], lambda e: None)


@pytest.mark.parametrize("stages_ms", [None, {"asr": 100.0, "transport": 400.0}])
async def test_there_is_a_picture_with_and_without_stages(
    stages_ms: dict[str, float] | None, tmp_path: Path
) -> None:
    async with FakeTalker(stages_ms=stages_ms).run() as server:
        target = Target(server.url)
        result = await measure_remote_latency(target, None, None, [QUESTION], lambda e: None)
    draw_remote_latency(tmp_path / "latency.png", target, result)
    assert (tmp_path / "latency.png").stat().st_size > 5000
    json.dumps(remote_report(target, result))


async def test_many_conversations_are_held_at_once() -> None:
    server = FakeTalker(stages_ms={"asr": 500.0})
    async with server.run():
        run = await run_talk_load(Target(server.url), [QUESTION], 2, 1.0, lambda text: None)
    found = talk_report(run)
    assert found["questions"] == 6
    assert found["answered"] == 6
    assert found["errors"] == []
    assert run.stale_pieces == 0
    assert server.total == 2
    json.dumps(found)


async def test_a_server_that_refuses_conversations_does_not_pass() -> None:
    async with FakeTalker(slots=0).run() as server:
        run = await run_talk_load(Target(server.url), [QUESTION], 2, 0.5, lambda text: None)
    found = talk_report(run)
    assert not found["passed"]
    assert len(found["errors"]) == 2


def test_what_makes_no_sense_is_one_line(tmp_path: Path) -> None:
    for arguments, says in [
        (["load", "--url", "ws://x", "--profile", "flood"], "steady, storm, churn"),
        (["load", "--url", "ws://x", "--profile", "talk"], "--questions"),
        (["load", "--url", "ws://x", "--frame-ms", "30"], "multiple of 20"),
        (["load", "--url", "ws://x", "--sessions", "2", "--kill", "3"], "more than there are"),
        (["load", "--url", "ws://x", "--out", "/no/such/folder/a"], "make the folder"),
        (["latency", str(tmp_path), "--url", "ws://x"], "no recordings"),
    ]:
        result = CliRunner().invoke(app, ["bench", *arguments])
        assert says in str(result.exception), arguments
