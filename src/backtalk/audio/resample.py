"""Change of sample rate, on a running stream or at once, by libsoxr at high quality.

libsoxr's ordinary engine works in large blocks: on a live stream it holds back up to 37 ms at
48 to 16 kHz and 116 ms at 8 to 16 kHz. Its variable-rate engine, used here at a fixed ratio, does
the same conversion with a short and steady delay (12.5 ms and 30 ms). Measured on 16 to 24 kHz it
is 15 ms, 44.1 to 16 kHz 13.6 ms, 22.05 to 24 kHz 10.9 ms; `delay_samples` has it for any pair.
When it lowers the rate by half or more its filter also shifts sound by 0.1 ms.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from backtalk.audio.pcm import check_sample_rate


class StreamingResampler:
    """One stream's resampler. Any chunk schedule gives the same samples as one push of everything.

    The output is clipped to -1..1. The input must be finite (see `pcm.sanitise`): one NaN spoils
    what follows. Not for use by two threads at a time. Equal rates pass chunks through.

    Args:
        rate_in: Hz of what is pushed.
        rate_out: Hz of what comes out.
    Raises:
        AudioError: a rate that is not a sample rate.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self.rate_in = check_sample_rate(rate_in)
        self.rate_out = check_sample_rate(rate_out)
        self._is_same = self.rate_in == self.rate_out
        self._restart()

    @property
    def delay_samples(self) -> int:
        """Output samples it holds back while the stream runs; 0 for equal rates. Measured."""
        return 0 if self._is_same else _measure_delay_samples(self.rate_in, self.rate_out)

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take the next chunk and return what is ready.

        Args:
            pcm: float32 [T] at `rate_in`, T from 0.
        Returns:
            float32 [U] at `rate_out`, possibly empty.
        """
        chunk = np.ascontiguousarray(pcm, dtype=np.float32)
        if self._is_same:
            return chunk
        self._samples_in += chunk.size
        return self._convert(chunk)

    def flush(self) -> np.ndarray:
        """End the stream and return what was held back; the next push begins a new stream.

        All of a stream's output is `round(T * rate_out / rate_in)` samples long (halves go up).

        Returns:
            float32 [U] at `rate_out`.
        """
        if self._is_same:
            return np.zeros(0, np.float32)
        left = _output_length(self._samples_in, self.rate_in, self.rate_out) - self._samples_out
        silence = np.zeros(max(64, self.rate_in // 50), np.float32)
        pieces = [np.zeros(0, np.float32)]
        while sum(piece.size for piece in pieces) < left:
            pieces.append(self._convert(silence))
        tail = np.concatenate(pieces)[: max(left, 0)]
        self._restart()
        return tail

    def _convert(self, chunk: np.ndarray) -> np.ndarray:
        if chunk.size == 0:
            return chunk
        converted: np.ndarray = self._engine.resample_chunk(chunk)
        self._samples_out += converted.size
        return np.clip(converted, -1.0, 1.0)

    def _restart(self) -> None:
        self._engine: Any = None if self._is_same else _new_engine(self.rate_in, self.rate_out)
        self._samples_in = 0
        self._samples_out = 0


def resample(pcm: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Resample a whole recording; the same samples as a stream of it would give.

    Args:
        pcm: float32 [T] at `rate_in`.
    Returns:
        float32 [round(T * rate_out / rate_in)].
    Raises:
        AudioError: a rate that is not a sample rate.
    """
    resampler = StreamingResampler(rate_in, rate_out)
    return np.concatenate([resampler.push(pcm), resampler.flush()])


def _output_length(samples_in: int, rate_in: int, rate_out: int) -> int:
    return (2 * samples_in * rate_out + rate_in) // (2 * rate_in)


def _new_engine(rate_in: int, rate_out: int) -> Any:
    import soxr

    return soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ", vr=True)


@lru_cache(maxsize=64)
def _measure_delay_samples(rate_in: int, rate_out: int) -> int:
    quarter_second = np.zeros(rate_in // 4, np.float32)
    ready = _new_engine(rate_in, rate_out).resample_chunk(quarter_second).size
    return _output_length(quarter_second.size, rate_in, rate_out) - int(ready)
