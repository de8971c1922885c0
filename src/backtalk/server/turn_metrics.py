"""Feeds the metrics from what sessions measure of themselves."""

from __future__ import annotations

import numpy as np

from backtalk.server.metrics import Metrics
from backtalk.stream.events import Event, Overrun, StepsMeasured, TurnMeasured


class TurnMetrics:
    """Observes one session of `system`."""

    def __init__(self, metrics: Metrics, system: str) -> None:
        self._metrics, self._system = metrics, system

    def heard(self, pcm: np.ndarray, sample_rate: int) -> None:
        """Audio is not measured."""

    def event(self, event: Event) -> None:
        """Count what is a measurement."""
        match event:
            case TurnMeasured():
                self._metrics.turn(self._system, event.latency)
            case StepsMeasured():
                self._metrics.step_ms.observe(event.step_p50_ms)
                self._metrics.late_steps_total.inc(event.late_steps)
            case Overrun():
                self._metrics.overrun_frames_total.inc(event.frames)

    def closed(self) -> None:
        """Nothing is kept."""
