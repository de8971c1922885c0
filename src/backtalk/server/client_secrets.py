"""Ephemeral keys: a back end asks for one and hands it to a browser, which never sees the token."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from backtalk.errors import CapacityError, ProtocolError
from backtalk.realtime.limits import Limits
from backtalk.stream.clock import now_s

SHORTEST_S = 10
LONGEST_S = 7200


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A key that expires.

    Attributes:
        value: what the client presents (`ek_...`).
        expires_at: Unix time in seconds.
        config: the session configuration that every session opened with it starts from.
    """

    value: str = field(repr=False)
    expires_at: int
    config: dict[str, Any]


class ClientSecrets:
    """The secrets that are alive. It keeps their hashes only, and expires by monotonic time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._alive: dict[bytes, tuple[float, dict[str, Any]]] = {}

    def create(self, expires_after: Any, config: Any) -> ClientSecret:
        """A new secret.

        Args:
            expires_after: the request's field: None or `{"anchor": "created_at", "seconds": n}`.
            config: the request's `session` field.
        Raises:
            ProtocolError: a field is of the wrong kind or out of range.
            CapacityError: too many are alive.
        """
        seconds = self._seconds(expires_after)
        if config is None:
            config = {"type": "realtime"}
        if not isinstance(config, dict):
            raise ProtocolError("invalid_value", "session must be an object", "session")
        self._forget_expired()
        if len(self._alive) >= self._limits.secrets:
            raise CapacityError("too many client secrets are alive; wait until some have expired")
        value = f"ek_{secrets.token_urlsafe(32)}"
        self._alive[_digest(value)] = (now_s() + seconds, config)
        return ClientSecret(value, int(time.time()) + seconds, config)

    def find(self, value: str) -> dict[str, Any] | None:
        """The session configuration of a living secret; None if there is no such secret.

        Looking up a hash tells nothing about the secret by the time it takes.
        """
        found = self._alive.get(_digest(value))
        if found is None or found[0] <= now_s():
            return None
        return found[1]

    def _seconds(self, expires_after: Any) -> int:
        if expires_after is None:
            return self._limits.secret_s
        if not isinstance(expires_after, dict):
            raise ProtocolError("invalid_value", "expires_after must be an object", "expires_after")
        if expires_after.get("anchor", "created_at") != "created_at":
            raise ProtocolError(
                "invalid_value",
                "expires_after.anchor can only be created_at",
                "expires_after.anchor",
            )
        seconds = expires_after.get("seconds", self._limits.secret_s)
        is_whole = isinstance(seconds, int) and not isinstance(seconds, bool)
        if not is_whole or not SHORTEST_S <= seconds <= LONGEST_S:
            raise ProtocolError(
                "invalid_value",
                f"expires_after.seconds must be a whole number from {SHORTEST_S} to {LONGEST_S}",
                "expires_after.seconds",
            )
        return int(seconds)

    def _forget_expired(self) -> None:
        now = now_s()
        self._alive = {key: kept for key, kept in self._alive.items() if kept[0] > now}


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
