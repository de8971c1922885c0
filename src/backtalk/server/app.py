"""All routes of a server and what runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from backtalk.errors import BacktalkError
from backtalk.server import health, http_api
from backtalk.server.agent_pool import AgentPool
from backtalk.server.http_errors import answer_backtalk_error, error_response
from backtalk.server.page import page_routes
from backtalk.server.service import Service, build_service
from backtalk.server.settings import ServerSettings
from backtalk.server.websocket import realtime_socket


def build_app(agents: AgentPool, settings: ServerSettings) -> Starlette:
    """The ASGI application; its `state.service` is the `Service` behind it.

    It must be served by `drain.build_server`, whose WebSockets know what their peer has received.
    The agents are warmed up while it starts; until then `/ready` says 503.
    """
    service = build_service(agents, settings)
    middleware = [Middleware(_OriginGate, service=service)]
    if settings.allowed_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["location"],
        )
        middleware.insert(0, cors)
    app = Starlette(
        routes=[
            *page_routes(),
            WebSocketRoute("/v1/realtime", realtime_socket),
            Route("/v1/realtime/client_secrets", http_api.client_secrets, methods=["POST"]),
            Route("/v1/realtime/calls", http_api.calls, methods=["POST"]),
            Route("/v1/models", http_api.models),
            Route("/live", health.live),
            Route("/ready", health.ready),
            Route("/metrics", health.metrics),
        ],
        middleware=middleware,
        exception_handlers={BacktalkError: answer_backtalk_error, 404: _not_found},
        lifespan=_lifespan,
    )
    app.state.service = service
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    service: Service = app.state.service
    beside = [
        asyncio.create_task(service.agents.warm_up()),
        asyncio.create_task(service.metrics.sample_loop_lag()),
    ]
    try:
        yield
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await asyncio.gather(*[call.end() for call in service.calls])
        await service.registry.close()
        await service.agents.close()


class _OriginGate:
    """Answers 403 to requests of foreign pages; the WebSocket route looks for itself."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._service.origins.refusal(Request(scope).headers)
            if refusal is not None:
                answer = error_response(403, "origin_not_allowed", refusal)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _not_found(request: Request, error: Exception) -> Response:
    return error_response(404, "not_found", f"there is nothing at {request.url.path[:80]}")
