"""What orchestrators ask: is it alive, is it ready, what are its numbers?"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.server.auth import presented_key
from backtalk.server.service import Service


async def live(request: Request) -> Response:
    """`GET /live`: the event loop turns, or this would not be answered."""
    return JSONResponse({"status": "live"})


async def ready(request: Request) -> Response:
    """`GET /ready`: 200 if a new session would work now, else 503."""
    service: Service = request.app.state.service
    if service.is_draining:
        return JSONResponse({"status": "draining"}, 503)
    if not await service.agents.is_ready():
        status = "failing" if service.agents.is_warm else "warming up"
        return JSONResponse({"status": status}, 503)
    return JSONResponse({"status": "ready"})


async def metrics(request: Request) -> Response:
    """`GET /metrics`, behind the token if there is one."""
    service: Service = request.app.state.service
    address = request.client.host if request.client else ""
    service.authenticator.check(presented_key(request.headers), address)
    return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)
