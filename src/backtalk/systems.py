"""From a system's name to a running session: the one place that knows how parts go together."""

from __future__ import annotations

from typing import Any, Protocol

from backtalk.cascade.plugins import find
from backtalk.errors import ConfigError
from backtalk.models.store import ModelStore
from backtalk.session.converted_responder import ConvertedResponder
from backtalk.session.detectors import TurnDetector, VoiceActivityDetector
from backtalk.session.frame_engine import FrameEngine
from backtalk.session.frame_session import FrameSession
from backtalk.session.frame_system import FrameSystem
from backtalk.session.responder import Responder
from backtalk.session.session import Session
from backtalk.session.settings import TurnSettings
from backtalk.session.smart_turn import build_smart_turn
from backtalk.session.turn_session import TurnSession
from backtalk.stream.worker import ModelWorker

DEFAULT_SYSTEM = "cascade"


class Agent(Protocol):
    """A loaded system that many sessions share."""

    name: str
    details: dict[str, Any]

    async def warm_up(self) -> None:
        """Make the first turn as fast as the tenth."""
        ...

    def open_session(self, settings: TurnSettings | None = None) -> Session:
        """A new session; close it when its user has gone."""
        ...

    async def close(self) -> None:
        """Free the models. Safe to call twice."""
        ...


class TurnAgent:
    """A `Responder` with the detectors that its sessions listen with."""

    def __init__(
        self,
        responder: Responder,
        vad: VoiceActivityDetector,
        turn_detector: TurnDetector | None,
    ) -> None:
        self.name, self.details = responder.spec.name, responder.spec.details
        self.responder = responder
        self.vad = vad
        self.turn_detector = turn_detector
        self._detector_worker = ModelWorker("turn-detector")

    async def warm_up(self) -> None:
        """Two replies, unheard."""
        if self.turn_detector is not None:
            self.turn_detector.warm_up()
        await self.responder.warm_up()

    def open_session(self, settings: TurnSettings | None = None) -> TurnSession:
        """A new session with an empty memory."""
        return TurnSession(
            self.responder, self.vad, self.turn_detector, settings, self._detector_worker
        )

    async def close(self) -> None:
        """Free the models. Safe to call twice."""
        self._detector_worker.close()
        await self.responder.close()


class FrameAgent:
    """A `Converter` or `Duplex`, which needs no turn-taking: its sessions are rows of one state.

    Args:
        slots: sessions at once.
    """

    def __init__(self, system: FrameSystem, slots: int = 64) -> None:
        self.name = system.spec.name
        self.details: dict[str, Any] = {"slots": slots}
        if (description := getattr(system, "description", None)) is not None:
            self.details["converter"] = description
        self.engine = FrameEngine(system, slots)

    async def warm_up(self) -> None:
        """A few steps on silence, all rows at once."""
        await self.engine.warm_up()

    def open_session(self, settings: TurnSettings | None = None) -> FrameSession:
        """A new session; turn settings do not apply to it.

        Raises:
            CapacityError: all slots are taken.
            StageError: the system has failed too often.
        """
        return FrameSession(self.engine)

    async def close(self) -> None:
        """Stop stepping. Safe to call twice."""
        await self.engine.close()


def build_agent(
    name: str = DEFAULT_SYSTEM,
    store: ModelStore | None = None,
    *,
    vad: str = "silero",
    slots: int = 64,
    voice_conversion: str | None = None,
    **options: Any,
) -> Agent:
    """Load a system by name.

    Args:
        name: an installed system (`backtalk.systems` entry points).
        store: where model files are; the default store if None.
        vad: voice activity detector plug-in, for turn-based systems.
        slots: sessions at once with a frame-clocked system.
        voice_conversion: say a turn-based system's replies in this LLVC voice.
        options: passed to the system's builder.
    Raises:
        ConfigError: no such system, an option it does not know, or replies to be converted of a
            system that makes none.
        ModelError: a model file is missing; says which command fetches it.
    """
    store = store or ModelStore.default()
    converter = None
    if voice_conversion is not None:  # first, because it is quick to say what is wrong with it
        converter = find("backtalk.systems", "llvc")(store, voice=voice_conversion)
    system = find("backtalk.systems", name)(store, **options)
    if not hasattr(system, "open"):
        if converter is not None:
            raise ConfigError(f"{name} takes no turns, so it has no replies to convert")
        return FrameAgent(system, slots)
    if converter is not None:
        system = ConvertedResponder(system, converter)
    return TurnAgent(system, find("backtalk.vad", vad)(store), build_smart_turn(store))
