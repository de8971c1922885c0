"""One sound in another voice."""

from __future__ import annotations

import numpy as np

from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.llvc_system import LlvcSystem
from backtalk.session.converter_stream import ConverterStream


class LlvcStream(ConverterStream):
    """A running conversion.

    Args:
        engine: of the voice.
        sample_rate: Hz of what is pushed and of what comes out; the engine's own by default.
    Raises:
        AudioError: not a sample rate.
    """

    def __init__(self, engine: LlvcEngine, sample_rate: int | None = None) -> None:
        super().__init__(LlvcSystem(engine), sample_rate, sample_rate)


def convert(engine: LlvcEngine, pcm: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
    """A whole recording in the engine's voice.

    Args:
        pcm: float32 [T].
        sample_rate: Hz; the engine's own by default.
    Returns:
        float32 [T].
    """
    stream = LlvcStream(engine, sample_rate)
    return np.concatenate([stream.push(pcm), stream.flush()])
