"""JSON text to events and back, with bounds on what a client can make the server read."""

from __future__ import annotations

from typing import Any

import orjson

from backtalk.errors import ProtocolError
from backtalk.realtime.limits import Limits


def decode(text: str | bytes, limits: Limits) -> dict[str, Any]:
    """Read one client event.

    Args:
        text: JSON; NaN, infinity and half surrogate pairs are not JSON.
    Returns:
        An object with a `type`.
    Raises:
        ProtocolError: too large, not JSON, too deep or too wide, or not an event.
    """
    if len(text) > limits.message_bytes:
        raise ProtocolError(
            "message_too_large",
            f"an event of {len(text)} bytes is more than the {limits.message_bytes} allowed; "
            "send audio in smaller pieces",
        )
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError("invalid_json", f"the message is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise ProtocolError("invalid_event", "an event is a JSON object with a type")
    if not isinstance(event.get("type"), str):
        raise ProtocolError("invalid_event", "the event has no type", "type")
    _check_size(event, limits)
    return event


def _check_size(event: dict[str, Any], limits: Limits) -> None:
    if len(event) < 16 and not any(isinstance(value, dict | list) for value in event.values()):
        return  # audio: 50 of these a second
    keys = 0
    level: list[Any] = [event]
    for _ in range(limits.json_depth):
        keys += sum(len(value) for value in level)
        if keys > limits.json_keys:
            raise ProtocolError(
                "event_too_complex", f"the event has more than {limits.json_keys} fields"
            )
        inner: list[Any] = []
        for value in level:
            members = value.values() if isinstance(value, dict) else value
            inner.extend(member for member in members if isinstance(member, dict | list))
        if not inner:
            return
        level = inner
    raise ProtocolError(
        "event_too_complex", f"the event is nested deeper than {limits.json_depth} levels"
    )


def encode(event: dict[str, Any]) -> bytes:
    """One server event as JSON."""
    return orjson.dumps(event)
