"""Who is let in, by key, by origin and by host name."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import websockets
from running import running

from backtalk.errors import ConfigError
from backtalk.realtime.limits import Limits
from backtalk.server.auth import Authenticator, AuthError, presented_key
from backtalk.server.client_secrets import ClientSecrets
from backtalk.server.origin import OriginCheck
from backtalk.server.settings import ServerSettings, is_loopback

TOKEN = "correct horse"


def authenticator(**settings: object) -> Authenticator:
    chosen = ServerSettings(**settings)  # type: ignore[arg-type]
    return Authenticator(chosen, ClientSecrets(chosen.limits))


async def test_the_right_token_is_let_in_and_others_are_not() -> None:
    auth = authenticator(tokens=("other", TOKEN))
    assert auth.check(TOKEN, "10.0.0.1").key_id
    for key in (None, "", "correct hors", TOKEN + "x", "\ud800", "ek_unknown"):
        with pytest.raises(AuthError):
            auth.check(key, f"10.0.1.{hash(key) % 200}")


async def test_the_callers_key_cannot_be_read_from_what_is_kept_of_it() -> None:
    caller = authenticator(tokens=(TOKEN,)).check(TOKEN, "10.0.0.1")
    assert TOKEN not in repr(caller)
    assert TOKEN not in repr(ServerSettings(tokens=(TOKEN,)))


async def test_without_a_token_only_this_machine_is_let_in() -> None:
    auth = authenticator()
    assert auth.check("any key", "127.0.0.1").key_id == ""
    assert auth.check(None, "::1")
    with pytest.raises(AuthError):
        auth.check("any key", "10.0.0.1")
    assert authenticator(is_insecure=True, host="0.0.0.0").check(None, "10.0.0.1")


async def test_guessing_is_slowed_down_for_its_address_only() -> None:
    auth = authenticator(tokens=(TOKEN,))
    for _ in range(Limits().failed_logins_per_min):
        with pytest.raises(AuthError, match="not one of"):
            auth.check("wrong", "10.0.0.1")
    with pytest.raises(AuthError, match="too many") as refusal:
        auth.check(TOKEN, "10.0.0.1")
    assert refusal.value.status == 429
    assert auth.check(TOKEN, "10.0.0.2")
    await asyncio.sleep(60)
    assert auth.check(TOKEN, "10.0.0.1")


async def test_failures_of_many_addresses_are_forgotten_not_collected() -> None:
    auth = authenticator(tokens=(TOKEN,))
    for n in range(10_000):
        with pytest.raises(AuthError):
            auth.check("wrong", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(auth._failures._buckets) <= 4096


def test_the_key_is_found_where_clients_put_it() -> None:
    assert presented_key({"authorization": "Bearer abc"}) == "abc"
    assert presented_key({"authorization": "bearer  abc "}) == "abc"
    assert presented_key({"authorization": "Basic abc"}) is None
    subprotocols = ["realtime", "openai-insecure-api-key.abc"]
    assert presented_key({}, subprotocols) == "abc"
    assert presented_key({}, ["realtime"]) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.com"])
def test_other_hosts_need_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="--token"):
        ServerSettings(host=host)
    ServerSettings(host=host, tokens=("t",))
    ServerSettings(host=host, is_insecure=True)


def test_loopback_names_and_addresses_are_known() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"))
    assert not any(is_loopback(host) for host in ("", "localhost.evil.com", "10.0.0.1", "0.0.0.0"))


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        (None, True),
        ("http://localhost:8765", True),
        ("https://app.example.com", True),
        ("https://example.com", False),
        ("https://app.example.com.evil.com", False),
        ("https://evil-app.example.com", False),
        ("https://app.example.com:8443", False),
        ("http://app.example.com", False),
        ("HTTPS://APP.EXAMPLE.COM", False),
        ("http://localhost:9999", False),
        ("null", False),
        ("", False),
    ],
)
def test_origins_match_exactly(origin: str | None, is_allowed: bool) -> None:
    check = OriginCheck(ServerSettings(allowed_origins=("https://app.example.com",)))
    headers = {"host": "localhost:8765"} | ({} if origin is None else {"origin": origin})
    assert (check.refusal(headers) is None) is is_allowed


def test_a_name_that_was_made_to_point_here_is_refused() -> None:
    loopback = OriginCheck(ServerSettings())
    rebound = {"host": "evil.com:8765", "origin": "http://evil.com:8765"}
    assert loopback.refusal(rebound) is not None
    for host in ("localhost:8765", "127.0.0.1", "[::1]:8765"):
        assert loopback.refusal({"host": host}) is None
    assert loopback.refusal({}) is not None
    # With a token such a page can do nothing, and proxies pass on names of their own.
    assert OriginCheck(ServerSettings(tokens=("t",))).refusal({"host": "voice.example"}) is None


@pytest.mark.realtime
async def test_a_wrong_token_can_be_read_as_such_on_the_socket() -> None:
    async with running(tokens=(TOKEN,)) as server:
        async with server.client() as client:
            assert (await client.next("error"))["error"]["code"] == "invalid_api_key"
            assert await client.close_code() == 1008
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with server.client(additional_headers=headers) as client:
            await client.next("session.created")


@pytest.mark.realtime
async def test_browsers_send_the_token_as_a_subprotocol() -> None:
    token = "a-token_without.spaces"
    offered = ["realtime", f"openai-insecure-api-key.{token}"]
    async with running(tokens=(token,)) as server, server.client(subprotocols=offered) as client:
        await client.next("session.created")
        assert client.socket.subprotocol == "realtime"


@pytest.mark.realtime
async def test_a_foreign_page_does_not_get_through_the_handshake() -> None:
    async with running() as server:
        with pytest.raises(websockets.InvalidStatus) as refusal:
            async with server.client(origin="https://evil.com"):
                pass
        assert refusal.value.response.status_code == 403
        async with httpx.AsyncClient(base_url=f"http://{server.address}") as http:
            answer = await http.post(
                "/v1/realtime/client_secrets", json={}, headers={"Origin": "https://evil.com"}
            )
            assert answer.status_code == 403
            assert (await http.get("/v1/models", headers={"Host": "evil.com"})).status_code == 403
