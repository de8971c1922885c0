"""What speech means, frame by frame, in the eyes of a recogniser: Whisper's encoder.

Mimi's first codebook learns to say what a speech encoder says (Moshi, arXiv 2410.00037, section
3.3.2, with WavLM there): states are averaged over two frames' time, not causally, once per frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.log_mel import SAMPLE_RATE, log_mel
from backtalk.audio.resample import resample
from backtalk.errors import ModelError

FRAME_MS = 80
STATES_PER_FRAME = 4  # 50 Hz to 12.5 Hz
_POOLED = 8


class WhisperTeacher:
    """The encoder of Whisper tiny in CTranslate2's form, loaded when it is first needed.

    Args:
        path: folder of the model.
        sample_rate: Hz of what it will hear.
    """

    width = 384

    def __init__(self, path: Path, sample_rate: int) -> None:
        self._path = path
        self._sample_rate = sample_rate
        self._model: Any = None

    def states(self, pcm: np.ndarray) -> np.ndarray:
        """The averaged states of every frame.

        Args:
            pcm: float32 [B, T], T whole frames of 80 ms, at most 30 s.
        Returns:
            float32 [B, frames, width].
        """
        # In the process that uses it: a loaded model does not survive a fork.
        model = self._model = self._model or _load(self._path)
        mels = [log_mel(resample(row, self._sample_rate, SAMPLE_RATE)) for row in pcm]
        states = np.array(model.encode(_view(np.ascontiguousarray(np.stack(mels)))))
        return pooled(states.astype(np.float32))


def pooled(states: np.ndarray) -> np.ndarray:
    """Averages over 8 states every 4, centred on a frame: [B, 4 F, D] to [B, F, D]."""
    early = (_POOLED - STATES_PER_FRAME) // 2
    frames = states.shape[1] // STATES_PER_FRAME
    sums = np.cumsum(np.pad(states, ((0, 0), (1, 0), (0, 0))), axis=1, dtype=np.float64)
    begins = np.arange(frames) * STATES_PER_FRAME - early
    first = np.clip(begins, 0, states.shape[1])
    last = np.clip(begins + _POOLED, 0, states.shape[1])
    means: np.ndarray = (sums[:, last] - sums[:, first]) / (last - first)[None, :, None]
    return means.astype(np.float32)


def _view(array: np.ndarray) -> Any:
    import ctranslate2

    return ctranslate2.StorageView.from_array(array)


def _load(path: Path) -> Any:
    import ctranslate2

    try:
        return ctranslate2.models.Whisper(
            str(path), device="cpu", compute_type="int8", intra_threads=1
        )
    except RuntimeError as error:
        raise ModelError(
            f"the Whisper model in {path} cannot be loaded ({' '.join(str(error).split())[:120]}); "
            f"run `backtalk models get {path.name}`"
        ) from error
