"""What whoever starts the server decides, checked before anything is loaded."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from backtalk.errors import ConfigError
from backtalk.realtime.limits import Limits
from backtalk.session.settings import TurnSettings


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens and whom it lets in.

    Attributes:
        host, port: address to bind; port 0 takes a free one.
        tokens: keys that clients may present; none lets in everybody who can reach the server.
        is_insecure: True allows an address that others can reach without any token.
        allowed_origins: web pages of other sites that may connect, e.g. `https://example.com`.
        record_dir: where every conversation is recorded; None records nothing.
        has_tracing: whether turns are exported as OpenTelemetry spans.
        turns: turn-taking, where clients do not say otherwise.
        limits: bounds on what clients may ask.
    Raises:
        ConfigError: others could reach the server and nothing would stop them.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    tokens: tuple[str, ...] = field(default=(), repr=False)
    is_insecure: bool = False
    allowed_origins: tuple[str, ...] = ()
    record_dir: Path | None = None
    has_tracing: bool = False
    turns: TurnSettings = field(default_factory=TurnSettings)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.is_loopback and not self.tokens and not self.is_insecure:
            raise ConfigError(
                f"--host {self.host} lets others in; give --token TOKEN (or BACKTALK_TOKEN), "
                "or --insecure if that is what you want"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address (no port) is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
