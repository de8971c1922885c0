"""One stream of the ONNX graph: its memory, laid out so that a step copies nearly none of it.

Each history lies in a buffer with room for several steps after it. A step is handed the rows where
the history lies now and writes what it adds behind them; after `CYCLE` steps the history is moved
back to the front. Histories wrap in different steps, so that no step pays for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backtalk.llvc.config import History
from backtalk.llvc.graph import CONVERTED, new_name

CYCLE = 8
"""Steps between two moves of a history, and bindings that are prepared."""


class LlvcRow:
    """The state of one stream, and its step. Not for two threads at a time.

    Args:
        session: the `onnxruntime.InferenceSession` of the graph.
        remembered: the histories, the heard waveform first.
        frames, hop: of a step.
        fresh: what histories hold before the stream begins, where that is not zeros.
    """

    def __init__(
        self,
        session: Any,
        remembered: tuple[History, ...],
        frames: int,
        hop: int,
        fresh: Mapping[str, np.ndarray],
    ) -> None:
        self._session = session
        self._converted = np.zeros((frames, hop), np.float32)
        self._source, *kept = (
            _Kept(history, frames, phase=i, fresh=fresh.get(history.name))
            for i, history in enumerate(remembered)
        )
        self._kept = kept
        self._bindings = [self._bind(step) for step in range(CYCLE)]
        self._step = 0

    @property
    def nbytes(self) -> int:
        """Memory of the stream."""
        return sum(kept.buffer.nbytes for kept in (self._source, *self._kept))

    def reset(self) -> None:
        """Begin a new stream."""
        for kept in (self._source, *self._kept):
            kept.reset()
        self._step = 0

    def step(self, pcm: np.ndarray) -> np.ndarray:
        """Convert the next samples.

        Args:
            pcm: float32 [frames * hop].
        Returns:
            float32 [frames * hop], the row's own memory, valid until its next step.
        """
        step = self._step
        self._source.fresh_rows(step)[:, 0] = pcm
        self._session.run_with_iobinding(self._bindings[step])
        self._source.advance(step)
        for kept in self._kept:
            kept.advance(step)
        self._step = (step + 1) % CYCLE
        return self._converted.reshape(-1)

    def _bind(self, step: int) -> Any:
        binding = self._session.io_binding()
        _bind_input(binding, self._source.history.name, self._source.all_rows(step))
        for kept in self._kept:
            _bind_input(binding, kept.history.name, kept.old_rows(step))
            _bind_output(binding, new_name(kept.history), kept.fresh_rows(step))
        _bind_output(binding, CONVERTED, self._converted)
        return binding


class _Kept:
    """One history in its buffer.

    Args:
        frames: of a step.
        phase: shifts the step in which it wraps.
        fresh: what it holds at the beginning; None for zeros.
    """

    def __init__(self, history: History, frames: int, phase: int, fresh: np.ndarray | None) -> None:
        self.history = history
        self._rows = frames * history.rows_per_frame
        self._phase = phase
        self._fresh = fresh
        self.buffer = np.zeros((history.length + CYCLE * self._rows, history.width), np.float32)
        self.reset()

    def reset(self) -> None:
        self.buffer.fill(0.0)
        if self._fresh is not None:
            self.old_rows(0)[:] = self._fresh

    def old_rows(self, step: int) -> np.ndarray:
        begin = self._begin(step)
        return self.buffer[begin : begin + self.history.length]

    def fresh_rows(self, step: int) -> np.ndarray:
        begin = self._begin(step) + self.history.length
        return self.buffer[begin : begin + self._rows]

    def all_rows(self, step: int) -> np.ndarray:
        begin = self._begin(step)
        return self.buffer[begin : begin + self.history.length + self._rows]

    def advance(self, step: int) -> None:
        """Move the history to the front if `step` filled the buffer."""
        if (step + self._phase) % CYCLE == CYCLE - 1:
            self.buffer[: self.history.length] = self.buffer[CYCLE * self._rows :]

    def _begin(self, step: int) -> int:
        return (step + self._phase) % CYCLE * self._rows


def _bind_input(binding: Any, name: str, rows: np.ndarray) -> None:
    binding.bind_input(name, "cpu", 0, np.float32, rows.shape, rows.ctypes.data)


def _bind_output(binding: Any, name: str, rows: np.ndarray) -> None:
    binding.bind_output(name, "cpu", 0, np.float32, rows.shape, rows.ctypes.data)
