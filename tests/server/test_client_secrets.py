"""Ephemeral keys."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import httpx
import pytest
from running import running

from backtalk.errors import CapacityError, ProtocolError
from backtalk.realtime.limits import Limits
from backtalk.server.client_secrets import ClientSecrets


async def test_a_secret_is_good_until_it_expires() -> None:
    secrets = ClientSecrets(Limits())
    asked = {"anchor": "created_at", "seconds": 30}
    secret = secrets.create(asked, {"type": "realtime", "instructions": "be brief"})
    assert secret.value.startswith("ek_")
    assert secret.expires_at == pytest.approx(time.time() + 30, abs=2)
    await asyncio.sleep(29)
    assert secrets.find(secret.value) == {"type": "realtime", "instructions": "be brief"}
    assert secrets.find(secret.value + "x") is None
    await asyncio.sleep(2)
    assert secrets.find(secret.value) is None


@pytest.mark.parametrize(
    "asked",
    [
        7,
        [],
        {"anchor": "later"},
        {"seconds": 9},
        {"seconds": 7201},
        {"seconds": "60"},
        {"seconds": True},
        {"seconds": 60.5},
        {"seconds": None},
    ],
)
async def test_lives_out_of_range_are_refused(asked: object) -> None:
    with pytest.raises(ProtocolError):
        ClientSecrets(Limits()).create(asked, None)


async def test_only_so_many_secrets_are_alive_at_once() -> None:
    secrets = ClientSecrets(replace(Limits(), secrets=3))
    for _ in range(3):
        secrets.create({"seconds": 10}, None)
    with pytest.raises(CapacityError):
        secrets.create(None, None)
    await asyncio.sleep(11)
    secrets.create(None, None)


@pytest.mark.realtime
async def test_a_session_opened_with_a_secret_starts_from_its_configuration() -> None:
    async with running(tokens=("the-token",)) as server:
        async with httpx.AsyncClient(base_url=f"http://{server.address}/v1/realtime") as http:
            wanted = {"session": {"type": "realtime", "instructions": "Be brief."}}
            assert (await http.post("/client_secrets", json=wanted)).status_code == 401
            bearer = {"Authorization": "Bearer the-token"}
            answer = await http.post("/client_secrets", json=wanted, headers=bearer)
            assert answer.status_code == 200
            made = answer.json()
            assert made["session"]["model"] == "cascade"
            again = {"Authorization": f"Bearer {made['value']}"}
            answer = await http.post("/client_secrets", json=wanted, headers=again)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "invalid_api_key"
            wrong = {"session": wanted["session"], "expires_after": {"seconds": 1}}
            answer = await http.post("/client_secrets", json=wrong, headers=bearer)
            assert answer.json()["error"]["param"] == "expires_after.seconds"
        offered = ["realtime", f"openai-insecure-api-key.{made['value']}"]
        async with server.client("model=cascade", subprotocols=offered) as client:
            created = await client.next("session.created")
            assert created["session"]["instructions"] == "Be brief."
