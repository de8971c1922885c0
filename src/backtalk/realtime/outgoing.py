"""What goes out to a client: events as objects, and audio in a form that is cheap to send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class OutgoingAudio:
    """One `response.output_audio.delta`.

    Attributes:
        event_id, response_id, item_id: as in the event.
        pcm: float32 [T] at the session's `sample_rate_out`; a WebRTC track sends this.
        duration_ms: of `pcm`.
    """

    event_id: str
    response_id: str
    item_id: str
    pcm: np.ndarray = field(repr=False)
    duration_ms: float
    _head: bytes = field(repr=False)
    _audio: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The event's JSON. Put together from pieces: this is done 25 to 50 times a second."""
        return b"".join((self._head, self.event_id.encode(), b'","delta":"', self._audio, b'"}'))


Outgoing = dict[str, Any] | OutgoingAudio


class Outlet(Protocol):
    """Where a Realtime session's events go: an `Outbox` that somebody reads, or a server's log."""

    def put(self, event: dict[str, Any]) -> None:
        """Take an event; never waits."""
        ...

    async def put_audio(self, event: OutgoingAudio) -> None:
        """Take a piece of audio once there is room for it."""
        ...

    def take_back_audio(self) -> None:
        """Forget all audio that is not on its way to the client yet."""
        ...

    def close(self) -> None:
        """No more events. Safe to call twice."""
        ...


def audio_head(response_id: str, item_id: str, output_index: int) -> bytes:
    """The part of the JSON that is the same for all audio of an item."""
    return (
        '{"type":"response.output_audio.delta",'
        f'"response_id":"{response_id}","item_id":"{item_id}",'
        f'"output_index":{output_index},"content_index":0,"event_id":"'
    ).encode()
