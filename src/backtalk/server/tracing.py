"""A span per turn with a child per stage, for OpenTelemetry (which is imported only if wanted)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from backtalk.errors import ConfigError
from backtalk.latency.record import TurnLatency
from backtalk.stream.clock import now_s
from backtalk.stream.events import Event, ReplyAudio, TurnMeasured

_AFTER_SENDING = ("leading_silence", "transport")


def build_tracer() -> Any:
    """A tracer that exports over OTLP, set up by the usual `OTEL_` variables.

    Raises:
        ConfigError: the extra `otel` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError("--otel needs more: pip install 'backtalk[otel]'") from None
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("backtalk")


class TurnSpans:
    """Observes one session; a turn's spans are made when it has been measured.

    The spans are laid out back from the moment the reply's first audio was sent, so they are those
    of the latency record. They carry no words.
    """

    def __init__(self, tracer: Any, system: str) -> None:
        self._tracer, self._system = tracer, system
        self._sent_at_s: dict[int, float] = {}

    def heard(self, pcm: np.ndarray, sample_rate: int) -> None:
        """Audio is not traced."""

    def event(self, event: Event) -> None:
        """Note when a reply was first sent; trace it when it is measured."""
        match event:
            case ReplyAudio():
                self._sent_at_s.setdefault(event.turn, event.at_s)
            case TurnMeasured():
                sent_at_s = self._sent_at_s.pop(event.turn, None)
                if sent_at_s is not None:
                    self._trace(event.latency, sent_at_s, event.at_s)

    def closed(self) -> None:
        """Forget turns that were never measured."""
        self._sent_at_s.clear()

    def _trace(self, latency: TurnLatency, sent_at_s: float, over_at_s: float) -> None:
        before_ms = sum(
            ms for stage, ms in latency.stages_ms.items() if stage not in _AFTER_SENDING
        )
        at_s = sent_at_s - before_ms / 1000
        turn = self._tracer.start_span(
            "backtalk.turn",
            start_time=_wall_ns(at_s),
            attributes={"backtalk.system": self._system, **_attributes(latency)},
        )
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(turn)
        for stage, ms in latency.stages_ms.items():
            span = self._tracer.start_span(stage, context=context, start_time=_wall_ns(at_s))
            at_s += ms / 1000
            span.end(_wall_ns(at_s))
        turn.end(_wall_ns(max(over_at_s, at_s)))


def _attributes(latency: TurnLatency) -> dict[str, float | int]:
    measured = {
        "backtalk.ttfa_ms": latency.ttfa_ms,
        "backtalk.barge_in_ms": latency.barge_in_ms,
        "backtalk.rtf": latency.rtf,
        "backtalk.underruns": latency.underruns,
        "backtalk.speculations": latency.speculations,
    }
    return {name: value for name, value in measured.items() if value is not None}


def _wall_ns(at_s: float) -> int:
    """The wall clock at a moment of the loop's clock."""
    return time.time_ns() - round((now_s() - at_s) * 1e9)
