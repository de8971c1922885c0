"""Silero's voice activity detector: the probability of speech in each 32 ms of a user's audio.

Source: github.com/snakers4/silero-vad (MIT), ONNX export of version 5 and later. The model takes a
frame of 512 samples with the last 64 samples of the frame before it, and a recurrent state; both
are carried in a value here, so that one model serves any number of sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.errors import AudioError, ConfigError
from backtalk.session.onnx_session import one_thread_session

if TYPE_CHECKING:
    from backtalk.models.store import ModelStore

MODEL_ID = "silero-vad"
CONTEXT_SAMPLES = 64
_STATE_SHAPE = (2, 1, 128)


@dataclass(frozen=True, slots=True)
class SileroState:
    """What the detector remembers of one session.

    Attributes:
        recurrent: float32 [2, 1, 128], the network's own state.
        context: float32 [64], the end of the last frame.
    """

    recurrent: np.ndarray = field(repr=False)
    context: np.ndarray = field(repr=False)


class SileroVad:
    """A `VoiceActivityDetector` on ONNX Runtime. Safe to share between sessions and threads.

    Args:
        path: the ONNX file.
    Raises:
        ModelError: the file is missing or damaged.
    """

    sample_rate = 16000
    frame_size = 512

    def __init__(self, path: Path) -> None:
        self._session = one_thread_session(path)
        self._rate = np.array(self.sample_rate, np.int64)

    def new_state(self) -> SileroState:
        """A state that has heard nothing."""
        return SileroState(
            recurrent=np.zeros(_STATE_SHAPE, np.float32),
            context=np.zeros(CONTEXT_SAMPLES, np.float32),
        )

    def step(self, state: SileroState, frame: np.ndarray) -> tuple[float, SileroState]:
        """Hear one frame.

        Args:
            state: what `new_state` or the last `step` gave; it is not changed.
            frame: float32 [512] at 16 kHz; samples that are not finite count as silence, because
                one of them would stay in the recurrent state for good.
        Returns:
            The probability of speech in the frame, and the next state.
        Raises:
            AudioError: the frame has another size.
        """
        if frame.shape != (self.frame_size,):
            raise AudioError(f"the VAD takes frames of shape (512,), not {frame.shape}")
        clean = np.nan_to_num(frame.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        heard = np.concatenate([state.context, clean])
        probability, recurrent = self._session.run(
            None, {"input": heard[None], "state": state.recurrent, "sr": self._rate}
        )
        following = SileroState(recurrent=recurrent, context=clean[-CONTEXT_SAMPLES:])
        return float(probability[0, 0]), following


def build_silero_vad(store: ModelStore, **options: Any) -> SileroVad:
    """The builder behind `--vad silero`; takes no options.

    Raises:
        ConfigError: an option was given.
        ModelError: the model is not in the store, or damaged.
    """
    if options:
        raise ConfigError(f"the silero VAD takes no options, got {', '.join(sorted(options))}")
    return SileroVad(store.require(MODEL_ID) / "silero_vad.onnx")
