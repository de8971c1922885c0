"""One sound in another voice: at any sample rate, in pieces of any size, undelayed as a whole.

What comes out lies sample for sample where it came in: the 16 samples by which the network is late
are taken off the front and asked for at the end.
"""

from __future__ import annotations

import numpy as np

from backtalk.audio.framing import Framer
from backtalk.audio.resample import StreamingResampler
from backtalk.llvc.engine import LlvcEngine


class LlvcStream:
    """A running conversion. Any chunk schedule gives the same samples.

    Args:
        engine: of the voice.
        sample_rate: Hz of what is pushed and of what comes out.
    Raises:
        AudioError: not a sample rate.
    """

    def __init__(self, engine: LlvcEngine, sample_rate: int | None = None) -> None:
        rate = sample_rate or engine.sample_rate
        self._row = engine.open_row()
        self._lookahead_samples = engine.lookahead_samples
        self._in = StreamingResampler(rate, engine.sample_rate)
        self._out = StreamingResampler(engine.sample_rate, rate)
        self._framer = Framer(engine.frame_size)
        self._restart()

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take the next piece and return what is ready.

        Args:
            pcm: float32 [T], T from 0, finite.
        Returns:
            float32 [U], U from 0.
        """
        self._samples_in += pcm.size
        converted = self._out.push(self._convert(self._in.push(pcm)))
        self._samples_out += converted.size
        return converted

    def flush(self) -> np.ndarray:
        """End the sound and return the rest: in all as many samples as were pushed."""
        rest = self._in.flush()
        missing = self._lookahead_samples + self._framer.pending_samples + rest.size
        silence = np.zeros(-missing % self._framer.frame_size, np.float32)
        silence = np.concatenate([np.zeros(self._lookahead_samples, np.float32), silence])
        tail = self._convert(np.concatenate([rest, silence]))
        converted = np.concatenate([self._out.push(tail), self._out.flush()])
        left = self._samples_in - self._samples_out
        self._row.reset()
        self._restart()
        return np.pad(converted[:left], (0, max(0, left - converted.size)))

    def _convert(self, pcm: np.ndarray) -> np.ndarray:
        frames = [self._row.step(frame).copy() for frame in self._framer.push(pcm)]
        converted = np.concatenate([np.zeros(0, np.float32), *frames])
        skipped = min(self._to_skip, converted.size)
        self._to_skip -= skipped
        return converted[skipped:]

    def _restart(self) -> None:
        self._samples_in = self._samples_out = 0
        self._to_skip = self._lookahead_samples


def convert(engine: LlvcEngine, pcm: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
    """A whole recording in the engine's voice.

    Args:
        pcm: float32 [T], finite.
        sample_rate: Hz; the engine's own by default.
    Returns:
        float32 [T].
    """
    stream = LlvcStream(engine, sample_rate)
    return np.concatenate([stream.push(pcm), stream.flush()])
