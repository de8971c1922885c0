"""What `/metrics`, `/live`, `/ready` and `/v1/models` say."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
import pytest
from running import fake_pool, running

from backtalk.errors import StageError
from backtalk.latency.record import TurnLatency
from backtalk.server.metrics import Metrics
from backtalk.server.turn_metrics import TurnMetrics
from backtalk.stream.events import Overrun, StepsMeasured, TurnMeasured

NAMES = (
    "sessions_active",
    "sessions_total",
    "rejects_total",
    "ttfa_ms",
    "stage_ms",
    "step_ms",
    "step_deadline_miss_total",
    "barge_in_ms",
    "loop_lag_ms",
    "inflight_audio_ms",
    "underrun_total",
    "overrun_frames_total",
    "rss_bytes",
    "open_fds",
    "tasks",
    "ws_close_total",
    "protocol_errors_total",
)


def test_every_promised_name_is_there() -> None:
    text = Metrics().render().decode()
    for name in NAMES:
        assert f"# HELP backtalk_{name} " in text


def test_a_turn_is_counted_by_system_and_stage() -> None:
    metrics = Metrics()
    watching = TurnMetrics(metrics, "cascade")
    latency = TurnLatency({"asr": 40.0, "hold": 100.0}, ttfa_ms=140.0, underruns=2)
    watching.event(TurnMeasured(0.0, 1, latency))
    watching.event(TurnMeasured(0.0, 2, TurnLatency()))
    watching.event(StepsMeasured(0.0, 100, 3.0, 5.0, 6.0, 7, 20.0))
    watching.event(Overrun(0.0, 3))
    text = metrics.render().decode()
    assert 'backtalk_ttfa_ms_sum{system="cascade"} 140.0' in text
    assert 'backtalk_ttfa_ms_count{system="cascade"} 1.0' in text
    assert 'backtalk_stage_ms_bucket{le="50.0",stage="asr",system="cascade"} 1.0' in text
    assert "backtalk_underrun_total 2.0" in text
    assert "backtalk_step_deadline_miss_total 7.0" in text
    assert "backtalk_overrun_frames_total 3.0" in text


@pytest.mark.realtime
async def test_a_blocked_event_loop_shows_as_lag() -> None:
    import time

    metrics = Metrics()
    sampling = asyncio.create_task(metrics.sample_loop_lag())
    await asyncio.sleep(0.02)
    time.sleep(0.3)  # noqa: ASYNC251
    await asyncio.sleep(0.05)
    sampling.cancel()
    await asyncio.gather(sampling, return_exceptions=True)
    worst = 'backtalk_loop_lag_ms_bucket{le="100.0"} 0.0'
    assert worst in metrics.render().decode()


async def test_a_server_is_ready_only_when_its_systems_answer() -> None:
    pool = fake_pool()
    assert not await pool.is_ready()
    await pool.warm_up()
    assert await pool.is_ready()
    echo = pool.find("echo")[1]
    echo.engine.refusal = "the model has failed too often"  # type: ignore[attr-defined]
    assert await pool.is_ready(), "it was tried a moment ago"
    await asyncio.sleep(11)
    assert not await pool.is_ready()
    await pool.close()


async def test_a_system_that_cannot_be_warmed_up_says_so() -> None:
    pool = fake_pool()

    async def fail() -> None:
        raise StageError("system", "no memory left")

    pool.find("echo")[1].warm_up = fail  # type: ignore[method-assign]
    await pool.warm_up()
    with pytest.raises(StageError, match="no memory"):
        await pool.until_warm()
    assert not pool.is_warm
    await pool.close()


@pytest.mark.realtime
async def test_the_routes_answer_in_the_shapes_clients_expect() -> None:
    async with (
        running() as server,
        httpx.AsyncClient(base_url=f"http://{server.address}") as http,
        server.client() as client,
    ):
        await client.append(np.zeros(480, np.float32))
        await client.next("response.output_audio.delta")
        assert (await http.get("/live")).status_code == 200
        assert (await http.get("/ready")).json() == {"status": "ready"}
        models = (await http.get("/v1/models")).json()
        assert models["object"] == "list"
        assert [model["id"] for model in models["data"]] == ["cascade", "echo"]
        assert models["data"][1]["kind"] == "converter"
        metrics = await http.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "backtalk_sessions_active 1.0" in metrics.text
        for path in ("/nowhere", "/v1/nowhere"):
            missing = await http.get(path)
            assert missing.status_code == 404
            assert set(missing.json()["error"]) == {"type", "code", "message", "param"}
        page = await http.get("/")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "microphone=(self)" in page.headers["permissions-policy"]


@pytest.mark.realtime
async def test_metrics_and_models_are_behind_the_token_and_health_is_not() -> None:
    async with (
        running(tokens=("t",)) as server,
        httpx.AsyncClient(base_url=f"http://{server.address}") as http,
    ):
        for path in ("/metrics", "/v1/models"):
            refused = await http.get(path)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            allowed = await http.get(path, headers={"Authorization": "Bearer t"})
            assert allowed.status_code == 200
        assert (await http.get("/ready")).status_code == 200
