"""What a client speaks: the protocol as it is, or as its beta was, translated here at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from backtalk.realtime import beta, wire
from backtalk.realtime.outgoing import OutgoingAudio


class Dialect:
    """Translates between one client and its session.

    Args:
        is_beta: whether the client said so in its handshake. Others say it by their first event.
    """

    def __init__(self, is_beta: bool = False) -> None:
        self._is_beta = is_beta

    def incoming(self, event: dict[str, Any]) -> dict[str, Any]:
        """A client event as the session understands it."""
        self._is_beta = self._is_beta or beta.is_beta_event(event)
        return beta.client_event_to_ga(event) if self._is_beta else event

    def encode(self, event: dict[str, Any]) -> bytes | None:
        """The JSON of a server event; None if this client knows no such event."""
        told = beta.server_event_to_beta(event) if self._is_beta else event
        return wire.encode(told) if told is not None else None

    def encode_audio(self, audio: OutgoingAudio) -> bytes:
        """The JSON of a piece of audio."""
        return beta.encode_audio(audio) if self._is_beta else audio.encode()


def dialect_of(headers: Mapping[str, str], subprotocols: Iterable[str]) -> Dialect:
    """The dialect that a handshake asks for."""
    has_header = "realtime=v1" in headers.get("openai-beta", "")
    return Dialect(has_header or "openai-beta.realtime-v1" in subprotocols)
