"""Why a connection ends: the close code of RFC 6455 and the `error` event sent before it."""

from __future__ import annotations

import secrets
from typing import Any

from backtalk.errors import BacktalkError

NORMAL = 1000
GOING_AWAY = 1001
WRONG_TYPE = 1003
POLICY = 1008
INTERNAL = 1011
RESTARTING = 1012
TRY_LATER = 1013


class Closing(BacktalkError):
    """The server ends a connection.

    Args:
        close_code: of the WebSocket close frame.
        code: of the `error` event before it; also the close frame's reason.
        message: one line for a person.
        ends_session: False lets a session that can be resumed wait for its client.
        details: further fields of the `error` object.
    """

    def __init__(
        self,
        close_code: int,
        code: str,
        message: str,
        *,
        ends_session: bool = True,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.code = code
        self.ends_session = ends_session
        self.details = details

    def event(self) -> dict[str, Any]:
        """The `error` event that tells the client."""
        return error_event(self.code, str(self), **self.details)


def error_event(
    code: str,
    message: str,
    *,
    param: str | None = None,
    event_id: str | None = None,
    **details: Any,
) -> dict[str, Any]:
    """An `error` server event.

    Args:
        code: short machine-readable name.
        param: the field that was wrong.
        event_id: of the client event that was wrong.
    """
    return {
        "type": "error",
        "event_id": new_event_id(),
        "error": {
            "type": "invalid_request_error",
            "code": code,
            "message": message,
            "param": param,
            "event_id": event_id,
            **details,
        },
    }


def new_event_id() -> str:
    """An id for an event that the server adds to those of a session."""
    return f"event_{secrets.token_hex(10)}"
