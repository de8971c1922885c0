"""Who may connect: tokens, ephemeral secrets, and a brake on guessing."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.realtime.limits import Limits
from backtalk.server.client_secrets import ClientSecrets
from backtalk.server.settings import ServerSettings, is_loopback
from backtalk.server.token_bucket import TokenBucket

KEY_SUBPROTOCOL = "openai-insecure-api-key."
_MAX_ADDRESSES = 4096

_log = logging.getLogger(__name__)


class AuthError(BacktalkError):
    """A client may not connect.

    Attributes:
        status: of an HTTP answer.
        code: short machine-readable name.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that was let in.

    Attributes:
        address: its IP address.
        key_id: stands for the key it presented, which cannot be told from it; "" if none counts.
        config: session configuration bound to its ephemeral secret.
        is_ephemeral: whether it presented an ephemeral secret.
    """

    address: str
    key_id: str = ""
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    is_ephemeral: bool = False


class Authenticator:
    """Checks keys. A wrong key costs its address one of a few attempts per minute."""

    def __init__(self, settings: ServerSettings, secrets: ClientSecrets) -> None:
        self._tokens = [token.encode() for token in settings.tokens]
        self._is_insecure = settings.is_insecure
        self._secrets = secrets
        self._failures = _Failures(settings.limits)

    @property
    def needs_token(self) -> bool:
        """Whether a client without a key is turned away."""
        return bool(self._tokens)

    def check(self, key: str | None, address: str) -> Caller:
        """Let a client in.

        Args:
            key: what it presented, if anything (`presented_key`).
            address: its IP address.
        Raises:
            AuthError: no key, a wrong one, or too many wrong ones from this address.
        """
        if not self._failures.may_try(address):
            raise AuthError(429, "too_many_failures", "too many wrong keys; try again in a minute")
        if key is not None and key.startswith("ek_"):
            config = self._secrets.find(key)
            if config is not None:
                return Caller(address, _key_id(key), config, is_ephemeral=True)
            self._fail(address)
            raise AuthError(401, "invalid_api_key", "this client secret is unknown or has expired")
        if not self._tokens:
            if self._is_insecure or is_loopback(address):
                return Caller(address)
            raise AuthError(401, "invalid_api_key", "without a token only this machine may connect")
        if key is None:
            raise AuthError(
                401, "invalid_api_key", "no key; send Authorization: Bearer with the server's token"
            )
        presented = key.encode("utf-8", "surrogatepass")
        # Every token is compared, so that the time taken does not tell which one was close.
        matches = [hmac.compare_digest(presented, token) for token in self._tokens]
        if not any(matches):
            self._fail(address)
            raise AuthError(401, "invalid_api_key", "this key is not one of the server's tokens")
        return Caller(address, _key_id(key))

    def _fail(self, address: str) -> None:
        self._failures.count(address)


def presented_key(headers: Mapping[str, str], subprotocols: Iterable[str] = ()) -> str | None:
    """The key in a request: a Bearer header, or the subprotocol that browsers have to use."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    for subprotocol in subprotocols:
        if subprotocol.startswith(KEY_SUBPROTOCOL):
            return subprotocol.removeprefix(KEY_SUBPROTOCOL)
    return None


class _Failures:
    """Wrong keys per address; only the last addresses that failed are kept."""

    def __init__(self, limits: Limits) -> None:
        self._per_min = limits.failed_logins_per_min
        self._buckets: dict[str, TokenBucket] = {}

    def may_try(self, address: str) -> bool:
        bucket = self._buckets.get(address)
        return bucket is None or bucket.has()

    def count(self, address: str) -> None:
        if address not in self._buckets and len(self._buckets) >= _MAX_ADDRESSES:
            self._buckets.pop(next(iter(self._buckets)))
        bucket = self._buckets.setdefault(address, TokenBucket(self._per_min, self._per_min / 60))
        bucket.take()
        if not bucket.has():
            _log.warning("too many wrong keys from %s; it is refused for a while", address)


def _key_id(key: str) -> str:
    return hashlib.sha256(b"backtalk key " + key.encode("utf-8", "surrogatepass")).hexdigest()
