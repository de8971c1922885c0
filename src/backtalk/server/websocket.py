"""`/v1/realtime`: one WebSocket, from the handshake to the close frame."""

from __future__ import annotations

import asyncio
import logging

from starlette.websockets import WebSocket, WebSocketDisconnect

from backtalk.errors import BacktalkError, CapacityError, ConfigError, ProtocolError
from backtalk.realtime import wire
from backtalk.realtime.client_events import handle_event
from backtalk.server import closing as close
from backtalk.server.acked_websocket import AckedSocket, peer_socket
from backtalk.server.agent_pool import ModelNotFoundError
from backtalk.server.auth import AuthError, Caller, presented_key
from backtalk.server.closing import Closing, error_event, new_event_id
from backtalk.server.delivery import Delivery
from backtalk.server.dialect import Dialect, dialect_of
from backtalk.server.http_errors import error_response
from backtalk.server.incoming import IncomingLimits
from backtalk.server.served_session import ServedSession
from backtalk.server.service import Service
from backtalk.stream.clock import now_s

_log = logging.getLogger(__name__)

SUBPROTOCOL = "realtime"
CLOSE_WITHIN_S = 1.0


async def realtime_socket(websocket: WebSocket) -> None:
    """The route: refuses foreign pages before the handshake, everybody else in words after it."""
    service: Service = websocket.app.state.service
    refusal = service.origins.refusal(websocket.headers)
    if refusal is not None:
        service.metrics.rejects_total.labels("origin_not_allowed").inc()
        await websocket.send_denial_response(error_response(403, "origin_not_allowed", refusal))
        return
    offered = websocket.scope["subprotocols"]
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    connection = _Connection(service, websocket)
    try:
        served = connection.enter()
    except Closing as closing:
        service.metrics.rejects_total.labels(closing.code).inc()
        await connection.close(closing)
        return
    await connection.serve(served)


class _Connection:
    """One accepted socket."""

    def __init__(self, service: Service, websocket: WebSocket) -> None:
        self._service, self._websocket = service, websocket
        self._socket: AckedSocket = peer_socket(websocket.scope)
        self._limits = service.settings.limits
        self._heard_at_s = now_s()

    def enter(self) -> ServedSession:
        """The session of this client: a new one, or the one it comes back to.

        Raises:
            Closing: it may not have one.
        """
        service, query = self._service, self._websocket.query_params
        if service.is_draining:
            raise Closing(close.RESTARTING, "server_restarting", "the server is stopping")
        caller = self._caller()
        token = query.get("resume")
        if token is not None:
            served = service.registry.take_back(token, query.get("last_event_id"))
            service.metrics.resumed_total.inc()
            self._tell_resumed(served)
            return served
        try:
            seat = service.enter(caller)
        except CapacityError as error:
            raise _refusal(error) from error
        model = query.get("model") or caller.config.get("model")
        try:
            served = ServedSession(
                lambda outlet: service.new_session(model, caller.config, outlet),
                caller,
                seat,
                self._limits,
                service.metrics,
                self._dialect(),
                on_updated=service.registry.offer_token,
                on_end=service.registry.forget,
            )
        except BacktalkError as error:
            seat.leave()
            raise _refusal(error) from error
        service.registry.add(served)
        return served

    async def serve(self, served: ServedSession) -> None:
        """Carry a session until the client or the server ends it."""
        delivery = Delivery(
            served.log,
            self._socket,
            served.unacknowledged_ms,
            self._limits,
            self._service.metrics,
        )
        delivering = asyncio.create_task(delivery.run())
        reading = asyncio.create_task(self._read(served, delivery))
        told: asyncio.Future[Closing] = asyncio.get_running_loop().create_future()

        def close_now(closing: Closing) -> None:
            delivery.stop()
            reading.cancel()
            if not told.done():
                told.set_result(closing)

        served.close_now = close_now
        work: set[asyncio.Future[Closing]] = {delivering, reading, told}  # type: ignore[arg-type]
        try:
            closing_for_time = await self._wait(served, work)
        finally:
            is_mine = served.close_now is close_now
            if is_mine:
                served.close_now = None
            for task in (reading, delivering):
                task.cancel()
            await asyncio.gather(reading, delivering, return_exceptions=True)
        if told.done():
            closing: Closing | None = told.result()
        else:
            closing = closing_for_time or _why_ended(reading, delivering)
        if closing is not None:
            await self.close(closing)
        else:
            self._service.metrics.ws_close_total.labels("peer").inc()
        if not is_mine:
            return
        is_final = self._socket.was_closed_by_peer if closing is None else closing.ends_session
        if is_final or not self._service.registry.wait_for_client(served):
            await served.end(closing.code if closing is not None else "done")

    async def close(self, closing: Closing) -> None:
        """Say why, then close; a peer that reads neither is dropped."""
        self._service.metrics.ws_close_total.labels(str(closing.close_code)).inc()
        self._socket.send(wire.encode(closing.event()))
        self._socket.abort_later()
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._websocket.close(closing.close_code, closing.code)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            return  # it has gone already, or reads nothing

    async def _read(self, served: ServedSession, delivery: Delivery) -> None:
        incoming, session = IncomingLimits(self._limits), served.session
        while True:
            text = await self._socket.receive()
            if text is None:
                return
            self._heard_at_s = now_s()
            if isinstance(text, bytes):
                message = "events are JSON in text messages"
                raise Closing(close.WRONG_TYPE, "binary_message", message)
            try:
                event = wire.decode(text, self._limits)
            except ProtocolError as error:
                served.say(
                    error_event(
                        error.code,
                        str(error),
                        param=error.param,
                        event_id=getattr(error, "event_id", None),
                    )
                )
                incoming.offend(error)
                continue
            wait_s = incoming.wait_s(event, served.effective)
            await handle_event(session, served.dialect.incoming(event))
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                delivery.held_back_s += wait_s

    async def _wait(
        self, served: ServedSession, work: set[asyncio.Future[Closing]]
    ) -> Closing | None:
        """Wait until a task is done; or, if time runs out before, for what reason to close."""
        while True:
            idle_at_s = self._heard_at_s + self._limits.idle_s
            left_s = min(served.ends_at_s, idle_at_s) - now_s()
            if left_s <= 0:
                break
            done, _ = await asyncio.wait(work, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return None
        if served.ends_at_s <= idle_at_s:
            message = "the longest time for a session is over"
            return Closing(close.NORMAL, "session_expired", message)
        return Closing(close.NORMAL, "idle", "nothing was heard for too long")

    def _caller(self) -> Caller:
        websocket = self._websocket
        key = presented_key(websocket.headers, websocket.scope["subprotocols"])
        address = websocket.client.host if websocket.client else ""
        try:
            return self._service.authenticator.check(key, address)
        except AuthError as error:
            raise Closing(close.POLICY, error.code, str(error)) from error

    def _dialect(self) -> Dialect:
        return dialect_of(self._websocket.headers, self._websocket.scope["subprotocols"])

    def _tell_resumed(self, served: ServedSession) -> None:
        event = {
            "type": "backtalk.session.resumed",
            "event_id": new_event_id(),
            "session": served.effective,
        }
        self._socket.send(wire.encode(event))


def _refusal(error: BacktalkError) -> Closing:
    """Why a client gets no session."""
    match error:
        case CapacityError():
            retry_after_s = round(error.retry_after_s)
            return Closing(close.TRY_LATER, "at_capacity", str(error), retry_after_s=retry_after_s)
        case ModelNotFoundError():
            return Closing(close.POLICY, "model_not_found", str(error), param="model")
        case ConfigError():
            return Closing(close.POLICY, "invalid_value", str(error))
        case ProtocolError():
            return Closing(close.POLICY, error.code, str(error), param=error.param)
    return Closing(close.INTERNAL, "internal_error", str(error))


def _why_ended(reading: asyncio.Task[None], delivering: asyncio.Task[None]) -> Closing | None:
    """Why the server has to close, from how its tasks ended; None if the peer has gone."""
    errors = [task.exception() for task in (reading, delivering) if not task.cancelled()]
    for error in errors:
        if isinstance(error, Closing):
            return error
        if error is not None:
            _log.error("a connection failed and is closed", exc_info=error)
            return Closing(close.INTERNAL, "internal_error", "the session failed; connect again")
    if not reading.cancelled():
        return None
    return Closing(close.NORMAL, "session_ended", "the session is over")
