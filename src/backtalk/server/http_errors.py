"""Errors of HTTP routes in the shape that OpenAI clients parse."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.errors import CapacityError, ProtocolError
from backtalk.server.agent_pool import ModelNotFoundError
from backtalk.server.auth import AuthError

_log = logging.getLogger(__name__)


def error_response(
    status: int,
    code: str,
    message: str,
    *,
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An error as JSON.

    Args:
        status: HTTP status.
        code: short machine-readable name.
        param: the field that was wrong.
    """
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"type": kind, "code": code, "message": message, "param": param}
    return JSONResponse({"error": error}, status, headers)


async def answer_backtalk_error(request: Request, error: Exception) -> Response:
    """Answer with what was wrong; anything not foreseen is logged, not told."""
    match error:
        case AuthError():
            headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
            return error_response(error.status, error.code, str(error), headers=headers)
        case CapacityError():
            headers = {"Retry-After": str(round(error.retry_after_s))}
            return error_response(503, "at_capacity", str(error), headers=headers)
        case ModelNotFoundError():
            return error_response(404, "model_not_found", str(error), param="model")
        case ProtocolError():
            return error_response(400, error.code, str(error), param=error.param)
    _log.error("a request failed", exc_info=error)
    return error_response(500, "internal_error", "the request failed; the server's log says why")
