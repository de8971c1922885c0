"""All that one server shares between its connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from backtalk.errors import CapacityError
from backtalk.realtime.observer import SessionObserver
from backtalk.realtime.outgoing import Outlet
from backtalk.realtime.realtime_session import RealtimeSession
from backtalk.server.admission import Admission, Seat
from backtalk.server.agent_pool import AgentPool
from backtalk.server.auth import Authenticator, Caller
from backtalk.server.client_secrets import ClientSecrets
from backtalk.server.metrics import Metrics
from backtalk.server.origin import OriginCheck
from backtalk.server.recording import SessionRecording
from backtalk.server.resume import SessionRegistry
from backtalk.server.settings import ServerSettings
from backtalk.server.tracing import TurnSpans, build_tracer
from backtalk.server.turn_metrics import TurnMetrics
from backtalk.session.session import Session


class EndsItself(Protocol):
    """A connection that can be told to end."""

    async def end(self) -> None:
        """End it, and wait until all is over."""
        ...


@dataclass
class Service:
    """The parts of a running server (`build_service`).

    Attributes:
        tracer: OpenTelemetry's, None without tracing.
        calls: WebRTC connections.
        is_draining: the server is stopping and takes nobody new.
    """

    settings: ServerSettings
    agents: AgentPool
    secrets: ClientSecrets
    authenticator: Authenticator
    origins: OriginCheck
    registry: SessionRegistry
    admission: Admission
    metrics: Metrics
    tracer: Any = None
    calls: set[EndsItself] = field(default_factory=set)
    is_draining: bool = False

    def new_session(
        self,
        model: str | None,
        config: dict[str, Any],
        outlet: Outlet,
        transport: Literal["websocket", "webrtc"] = "websocket",
    ) -> RealtimeSession:
        """A Realtime session with the system that a model name stands for.

        Args:
            model: as the client asked for it, None for the default.
            config: what its session object starts from.
            outlet: where its events go.
        Raises:
            ModelNotFoundError: no such system.
            CapacityError: the system has no slot left.
        """
        known, agent = self.agents.find(model)
        return RealtimeSession(
            agent,
            known,
            outlet,
            transport=transport,
            config=config,
            turns=self.settings.turns,
            limits=self.settings.limits,
            observers=self.observers,
        )

    def observers(self, session: Session) -> Sequence[SessionObserver]:
        """Whoever has to be told what happens in a new session."""
        watching: list[SessionObserver] = [TurnMetrics(self.metrics, session.system)]
        if self.settings.record_dir is not None:
            watching.append(SessionRecording(self.settings.record_dir, session.sample_rate_out))
        if self.tracer is not None:
            watching.append(TurnSpans(self.tracer, session.system))
        return watching

    def enter(self, caller: Caller) -> Seat:
        """Give a client a place.

        Raises:
            CapacityError: there is none, or the models are not warm yet.
        """
        if not self.agents.is_warm:
            raise CapacityError("the models are still being loaded", retry_after_s=5.0)
        return self.admission.enter(caller)


def build_service(agents: AgentPool, settings: ServerSettings) -> Service:
    """A server's parts, none of them running yet."""
    limits = settings.limits
    secrets = ClientSecrets(limits)
    registry = SessionRegistry(limits)
    metrics = Metrics()
    admission = Admission(limits, registry.end_longest_waiting)
    metrics.sessions_active.set_function(lambda: admission.taken)
    return Service(
        settings=settings,
        agents=agents,
        secrets=secrets,
        authenticator=Authenticator(settings, secrets),
        origins=OriginCheck(settings),
        registry=registry,
        admission=admission,
        metrics=metrics,
        tracer=build_tracer() if settings.has_tracing else None,
    )
