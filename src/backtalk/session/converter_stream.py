"""One sound through a converter: at any sample rate, in pieces of any size, undelayed as a whole.

What comes out lies sample for sample where it came in: the samples by which the converter is late
are taken off the front and asked for at the end.
"""

from __future__ import annotations

import numpy as np

from backtalk.audio.framing import Framer
from backtalk.audio.resample import StreamingResampler
from backtalk.session.converter import Converter
from backtalk.session.session import checked_pcm

_ONE_ROW = np.ones(1, bool)


class ConverterStream:
    """A running conversion with a row of its own. Any chunk schedule gives the same samples.

    Args:
        converter: the system.
        rate_in, rate_out: Hz of what is pushed and of what comes out; the converter's by default.
    Raises:
        AudioError: not a sample rate.
    """

    def __init__(
        self, converter: Converter, rate_in: int | None = None, rate_out: int | None = None
    ) -> None:
        spec = converter.spec
        self.rate_in, self.rate_out = rate_in or spec.sample_rate, rate_out or spec.sample_rate
        self._in = StreamingResampler(self.rate_in, spec.sample_rate)
        self._out = StreamingResampler(spec.sample_rate, self.rate_out)
        self._framer = Framer(spec.frame_size)
        self._lookahead_samples = spec.lookahead_samples
        self._converter = converter
        self._row = converter.alloc(1)
        self._restart()

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take the next piece and return what is ready.

        Args:
            pcm: float32 [T], T from 0. Not-a-number and samples out of range are made harmless.
        Returns:
            float32 [U], U from 0.
        Raises:
            AudioError: not a one-dimensional array of floats.
        """
        pcm = checked_pcm(pcm)
        self._samples_in += pcm.size
        converted = self._out.push(self._convert(self._in.push(pcm)))
        self._samples_out += converted.size
        return converted

    def flush(self) -> np.ndarray:
        """End the sound and return the rest; the next push begins a new sound.

        In all as long as what was pushed: `round(T * rate_out / rate_in)` samples, halves up.
        """
        rest = self._in.flush()
        missing = self._lookahead_samples + self._framer.pending_samples + rest.size
        silence = self._lookahead_samples + -missing % self._framer.frame_size
        tail = self._convert(np.concatenate([rest, np.zeros(silence, np.float32)]))
        converted = np.concatenate([self._out.push(tail), self._out.flush()])
        length = (2 * self._samples_in * self.rate_out + self.rate_in) // (2 * self.rate_in)
        left = length - self._samples_out
        self._converter.reset(self._row, _ONE_ROW)
        self._restart()
        return np.pad(converted[:left], (0, max(0, left - converted.size)))

    def _convert(self, pcm: np.ndarray) -> np.ndarray:
        step = self._converter.step
        frames = self._framer.push(pcm)
        made = [step(self._row, frame[None], _ONE_ROW).pcm[0].copy() for frame in frames]
        converted = np.concatenate([np.zeros(0, np.float32), *made])
        skipped = min(self._to_skip, converted.size)
        self._to_skip -= skipped
        return converted[skipped:]

    def _restart(self) -> None:
        self._samples_in = self._samples_out = 0
        self._to_skip = self._lookahead_samples
