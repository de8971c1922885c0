"""Smart Turn: the probability that the user has finished, judged from the sound of their words.

Source: github.com/pipecat-ai/smart-turn (BSD-2-Clause), version 3.2 for CPU, 8-bit weights. The
model hears the last 8 s through Whisper's log-mel front end; shorter turns are preceded by
silence. Its features follow `WhisperFeatureExtractor(chunk_length=8)` of Hugging Face transformers
with `do_normalize=True`, which scales the padded 8 s to zero mean and unit variance.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.audio.log_mel import log_mel
from backtalk.errors import ConfigError, StageError
from backtalk.session.onnx_session import one_thread_session

if TYPE_CHECKING:
    from backtalk.models.store import ModelStore

MODEL_ID = "smart-turn-v3.2"
WINDOW_SAMPLES = 8 * 16000
_VARIANCE_FLOOR = 1e-7


class SmartTurn:
    """A `TurnDetector` on ONNX Runtime, one thread. Stateless, safe to share.

    Args:
        path: the ONNX file.
    Raises:
        ModelError: the file is missing or damaged.
    """

    sample_rate = 16000

    def __init__(self, path: Path) -> None:
        self._session = one_thread_session(path)

    def probability(self, pcm: np.ndarray) -> float:
        """How likely the speaker has finished.

        Args:
            pcm: float32 [T] at 16 kHz, the turn so far with its trailing silence; only the last
                8 s are heard. The model was trained on about 200 ms of trailing silence.
        Returns:
            A probability, 0..1.
        Raises:
            StageError: the model failed.
        """
        try:
            outputs = self._session.run(None, {"input_features": features(pcm)[None]})
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise StageError("turn_detector", f"Smart Turn failed on this turn: {error}") from error
        return float(outputs[0][0, 0])

    def warm_up(self) -> None:
        """Run once on silence."""
        self.probability(np.zeros(0, np.float32))


def features(pcm: np.ndarray) -> np.ndarray:
    """What Smart Turn is shown of a turn.

    Args:
        pcm: float32 [T] at 16 kHz; samples that are not finite count as silence.
    Returns:
        float32 [80, 800].
    """
    last = np.nan_to_num(np.asarray(pcm[-WINDOW_SAMPLES:], np.float32), posinf=0.0, neginf=0.0)
    window = np.zeros(WINDOW_SAMPLES, np.float32)
    window[WINDOW_SAMPLES - len(last) :] = last
    return log_mel((window - window.mean()) / np.sqrt(window.var() + np.float32(_VARIANCE_FLOOR)))


def build_smart_turn(store: ModelStore, **options: Any) -> SmartTurn:
    """The default turn detector; takes no options.

    Raises:
        ConfigError: an option was given.
        ModelError: the model is not in the store, or damaged.
    """
    if options:
        raise ConfigError(f"Smart Turn takes no options, got {', '.join(sorted(options))}")
    return SmartTurn(store.require(MODEL_ID) / "smart-turn-v3.2-cpu.onnx")
