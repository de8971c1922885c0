"""The HTTP routes under `/v1`: models, ephemeral secrets, WebRTC calls."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.errors import CapacityError, ProtocolError
from backtalk.server.admission import Seat
from backtalk.server.auth import Caller, presented_key
from backtalk.server.http_errors import error_response
from backtalk.server.service import EndsItself, Service

MAX_BODY_BYTES = 256 * 1024


async def models(request: Request) -> Response:
    """`GET /v1/models`."""
    service = _service(request)
    _caller(request)
    return JSONResponse({"object": "list", "data": service.agents.describe()})


async def client_secrets(request: Request) -> Response:
    """`POST /v1/realtime/client_secrets`."""
    service, caller = _service(request), _caller(request)
    if caller.is_ephemeral:
        raise ProtocolError("invalid_api_key", "a client secret cannot make another one")
    asked = _json_object(await _body(request), "body")
    secret = service.secrets.create(asked.get("expires_after"), asked.get("session"))
    model, _ = service.agents.find(secret.config.get("model"))
    session = {"object": "realtime.session", **secret.config, "model": model}
    answer = {"value": secret.value, "expires_at": secret.expires_at, "session": session}
    return JSONResponse(answer)


async def calls(request: Request) -> Response:
    """`POST /v1/realtime/calls`: an SDP offer in, the answer out.

    The offer is the whole body, or the part `sdp` of a form whose part `session` configures.
    """
    service, caller = _service(request), _caller(request)
    try:
        from backtalk.server.webrtc import Call
    except ImportError:
        return error_response(
            501, "webrtc_not_installed", "WebRTC needs more: pip install 'backtalk[webrtc]'"
        )
    if service.is_draining:
        raise CapacityError("the server is stopping")
    offer_sdp, config = await _offer(request)
    config = {**caller.config, **config}
    model = request.query_params.get("model") or config.get("model")
    seat = service.enter(caller)
    try:
        call = Call(
            lambda outlet: service.new_session(model, config, outlet, "webrtc"),
            on_end=lambda: _hung_up(service, call, seat),
        )
        service.calls.add(call)
        answer_sdp = await call.answer(offer_sdp)
    except BaseException:
        seat.leave()
        raise
    location = f"/v1/realtime/calls/{call.session.id}"
    return Response(answer_sdp, 201, headers={"Location": location}, media_type="application/sdp")


def _hung_up(service: Service, call: EndsItself, seat: Seat) -> None:
    service.calls.discard(call)
    seat.leave()


async def _offer(request: Request) -> tuple[str, dict[str, Any]]:
    """The SDP offer and the session configuration of a call."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/sdp":
        return (await _body(request)).decode("utf-8", "replace"), {}
    if kind != "multipart/form-data":
        raise ProtocolError(
            "unsupported_content_type", "send application/sdp, or a form with sdp and session"
        )
    async with request.form(max_files=2, max_fields=4, max_part_size=MAX_BODY_BYTES) as form:
        parts = {}
        for name in ("sdp", "session"):
            part = form.get(name)
            if part is not None and not isinstance(part, str):
                part = (await part.read(MAX_BODY_BYTES)).decode("utf-8", "replace")
            parts[name] = part
    if not parts["sdp"]:
        raise ProtocolError("missing_field", "the form has no sdp", "sdp")
    return parts["sdp"], _json_object((parts["session"] or "{}").encode(), "session")


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise ProtocolError("body_too_large", f"a body may have {MAX_BODY_BYTES} bytes")
    return body


def _json_object(text: bytes, param: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text or b"{}")  # unlike json, it takes nothing it could not write
    except orjson.JSONDecodeError:
        raise ProtocolError("invalid_json", f"{param} is not JSON", param) from None
    if not isinstance(value, dict):
        raise ProtocolError("invalid_value", f"{param} must be a JSON object", param)
    return value


def _caller(request: Request) -> Caller:
    address = request.client.host if request.client else ""
    return _service(request).authenticator.check(presented_key(request.headers), address)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
