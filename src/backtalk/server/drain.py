"""The server process: how it starts to listen, and how it stops without cutting anybody off."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from backtalk.errors import ConfigError
from backtalk.server.acked_websocket import AckedWebSocketProtocol, DeadlineHttpProtocol
from backtalk.server.closing import GOING_AWAY, Closing
from backtalk.server.service import Service
from backtalk.server.settings import ServerSettings

LOOK_EVERY_S = 0.05
HURRY_S = 0.9
BACKLOG = 512

_log = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """uvicorn's server, with a first signal that drains and a second that does not wait.

    Unlike uvicorn's own, it ends with exit code 0: being asked to stop is not a failure.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the loop for the signal handler."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: drain; another one: stop now."""
        if self._loop is None or self._service.is_draining:
            self.should_exit = True
            self.config.timeout_graceful_shutdown = 0
            threading.Timer(HURRY_S, os._exit, [0]).start()
            return
        self._service.is_draining = True
        self._loop.call_soon_threadsafe(self.start_draining)

    def start_draining(self) -> None:
        """Take nobody new, let running replies end, then stop."""
        self._service.is_draining = True
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        registry, limits = self._service.registry, self._service.settings.limits
        _log.info("stopping; replies under way may end")
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + limits.drain_s
        while loop.time() < deadline_s and not self.should_exit:
            if not any(served.is_busy for served in registry.sessions if served.close_now):
                break
            await asyncio.sleep(LOOK_EVERY_S)
        for served in registry.sessions:
            if served.close_now is not None:
                served.close_now(Closing(GOING_AWAY, "server_stopping", "the server is stopping"))
        await asyncio.sleep(LOOK_EVERY_S)
        self.should_exit = True


def build_server(app: Starlette, settings: ServerSettings) -> DrainingServer:
    """A server for `app.build_app`'s application, not listening yet."""
    limits = settings.limits
    config = uvicorn.Config(
        app,
        http=DeadlineHttpProtocol,
        ws=AckedWebSocketProtocol,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,
        # Pings are ours (delivery.py).
        ws_ping_interval=None,
        ws_ping_timeout=None,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        # A proxy's word on who its client is would let anybody choose an address.
        proxy_headers=False,
        timeout_graceful_shutdown=2,
        backlog=BACKLOG,
    )
    service: Service = app.state.service
    return DrainingServer(config, service)


def listen(settings: ServerSettings) -> socket.socket:
    """The socket to serve on.

    Raises:
        ConfigError: the port is taken or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {settings.host}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; "
            "choose another with --port"
        ) from error
    listener.setblocking(False)
    return listener
