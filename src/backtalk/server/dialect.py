"""What a client speaks: the protocol as it is (GA), or as it was (beta), translated at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from backtalk.realtime.outgoing import OutgoingAudio


class Dialect(Protocol):
    """Translates between one client and the session, which speaks GA."""

    def incoming(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """A client event in GA form."""
        ...

    def outgoing(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """A server event in the client's form: none, one or several."""
        ...

    def audio(self, audio: OutgoingAudio) -> bytes:
        """The JSON of a piece of audio."""
        ...


class GaDialect:
    """Nothing to translate."""

    def incoming(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """The same event."""
        return (event,)

    def outgoing(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """The same event."""
        return (event,)

    def audio(self, audio: OutgoingAudio) -> bytes:
        """As it is."""
        return audio.encode()


def dialect_of(headers: Mapping[str, str], subprotocols: Iterable[str]) -> Dialect:
    """The dialect that a handshake asks for."""
    return GaDialect()
