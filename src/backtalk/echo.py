"""The null system: gives its input back, so that everything around a model can be measured.

What a session with it loses, repeats, mixes up or delays is the doing of the engine, the session,
the server or the network. It can also be slow or ill on request, as a model may be.
"""

from __future__ import annotations

import time

import numpy as np

from backtalk.errors import ConfigError
from backtalk.models.store import ModelStore
from backtalk.session.frame_system import FrameSpec, StepOut


class EchoState:
    """Rows of `EchoSystem`.

    Attributes:
        late: float32 [slots, delay_frames, frame_size], what is still to be given back; a ring.
        steps: int [slots], steps each row has made.
        leaked: what was kept on purpose.
    """

    def __init__(self, slots: int, delay_frames: int, frame_size: int) -> None:
        self.late = np.zeros((slots, delay_frames, frame_size), np.float32)
        self.steps = np.zeros(slots, np.int64)
        self.leaked: list[bytes] = []


class EchoSystem:
    """A converter whose other voice is the same voice; see `build_echo` for its options."""

    def __init__(
        self,
        *,
        sample_rate: int,
        frame_ms: int,
        delay_frames: int,
        step_ms: float,
        fail_at_step: int | None,
        nan_at_step: int | None,
        leak_bytes_per_step: int,
    ) -> None:
        frame_size = sample_rate * frame_ms // 1000
        self.spec = FrameSpec(
            "echo",
            sample_rate,
            frame_size,
            lookahead_samples=delay_frames * frame_size,
            steps_on_loop=step_ms == 0.0,
        )
        self._delay_frames = delay_frames
        self._step_ms = step_ms
        self._fail_at_step, self._nan_at_step = fail_at_step, nan_at_step
        self._leak_bytes_per_step = leak_bytes_per_step
        is_well = fail_at_step is None and nan_at_step is None and not leak_bytes_per_step
        self._is_plain = is_well and not delay_frames

    def alloc(self, slots: int) -> EchoState:
        """State for `slots` sessions."""
        return EchoState(slots, self._delay_frames, self.spec.frame_size)

    def reset(self, state: EchoState, mask: np.ndarray) -> None:
        """Forget what the masked rows have heard."""
        state.late[mask] = 0.0
        state.steps[mask] = 0

    def step(self, state: EchoState, pcm: np.ndarray, active: np.ndarray) -> StepOut:
        """Give back the frame of `delay_frames` steps ago."""
        if self._step_ms:
            time.sleep(self._step_ms / 1000.0)
        if self._is_plain:
            return StepOut(pcm)
        rows = active.nonzero()[0]
        out = pcm.copy()
        if self._delay_frames:
            at = state.steps[rows] % self._delay_frames
            out[rows] = state.late[rows, at]
            state.late[rows, at] = pcm[rows]
        state.steps[rows] += 1
        self._be_ill(state, rows, out)
        return StepOut(out)

    def _be_ill(self, state: EchoState, rows: np.ndarray, out: np.ndarray) -> None:
        if self._fail_at_step is not None and (state.steps[rows] == self._fail_at_step).any():
            raise RuntimeError(f"step {self._fail_at_step} fails on request")
        if self._nan_at_step is not None:
            out[rows[state.steps[rows] == self._nan_at_step]] = np.nan
        if self._leak_bytes_per_step:
            state.leaked.append(b"\x01" * (self._leak_bytes_per_step * len(rows)))


def build_echo(
    store: ModelStore,
    *,
    sample_rate: int = 24000,
    frame_ms: int = 20,
    delay_frames: int = 0,
    step_ms: float = 0.0,
    fail_at_step: int | None = None,
    nan_at_step: int | None = None,
    leak_bytes_per_step: int = 0,
) -> EchoSystem:
    """The echo; it needs no files.

    Args:
        store: not used.
        sample_rate: Hz.
        frame_ms: length of a frame.
        delay_frames: how many steps later a frame comes back.
        step_ms: how long a step of all rows takes, as if there was a model.
        fail_at_step: the step of a row (from 1) in which the whole system breaks.
        nan_at_step: the step of a row in which that row gives samples that are not numbers.
        leak_bytes_per_step: memory kept for good by every step of every row, to see whether a
            memory check would notice.
    Raises:
        ConfigError: a number that makes no sense.
    """
    for name, value, least in (
        ("sample_rate", sample_rate, 1000),
        ("frame_ms", frame_ms, 1),
        ("delay_frames", delay_frames, 0),
        ("step_ms", step_ms, 0),
        ("leak_bytes_per_step", leak_bytes_per_step, 0),
    ):
        if value < least:
            raise ConfigError(f"echo: {name} must be at least {least}, not {value}")
    return EchoSystem(
        sample_rate=sample_rate,
        frame_ms=frame_ms,
        delay_frames=delay_frames,
        step_ms=step_ms,
        fail_at_step=fail_at_step,
        nan_at_step=nan_at_step,
        leak_bytes_per_step=leak_bytes_per_step,
    )
