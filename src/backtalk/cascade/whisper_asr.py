"""The default recogniser: Whisper, fast on a few seconds, bounded on a minute.

Most turns fit a window of 8 s and are heard whole. Of a longer one the past is settled at a pause
whenever it outgrows the window, in a call that comes while the user still speaks, so that the call
at its end has only the last seconds to hear.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.audio.pauses import quietest_moment
from backtalk.cascade.protocols import Transcript
from backtalk.cascade.whisper_model import Hypothesis, WhisperModel
from backtalk.cascade.whisper_text import clean, is_suspect, is_written_on_silence, without_loop
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from backtalk.models.store import ModelStore

SAMPLE_RATE = 16000
MAX_WINDOW_S = 8.0
MIN_SETTLED_S = 3.0
SHORTEST_S = 0.1

# The loudest 20 ms of speech are above this even through a bad microphone (-66 dBFS).
_INAUDIBLE = 5e-4
# Measured by `benchmarks/asr_window.py`: below 0.35 on speech and above 0.6 on noises.
_NOBODY_SPEAKS = 0.6
_MAYBE_NOBODY_SPEAKS = 0.4
_UNSURE_LOG_PROBABILITY = -0.4


class WhisperAsr:
    """Recognises a turn (`protocols.Asr`). Has no state between calls.

    Args:
        path: folder of the model, see `WhisperModel`.
        threads: see `WhisperModel`.
        compute_type: of the weights, in CTranslate2's words.
        language: code such as `en`; for models that know several.
    Raises:
        ConfigError: the model does not know the language, or a value is out of range.
        ModelError: a file is missing or damaged.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self, path: Path, threads: int = 1, compute_type: str = "int8", language: str = "en"
    ) -> None:
        self.description = path.name
        self._model = WhisperModel(path, threads, compute_type, language)

    def transcribe(self, pcm: np.ndarray, earlier: Transcript | None = None) -> Transcript:
        """Recognise a turn, or as much of it as there is so far.

        Args:
            pcm: float32 [T] at 16 kHz, the whole turn from its first sample; samples that are not
                finite count as silence.
            earlier: an earlier result on a prefix of the same audio; its settled part is kept.
        Returns:
            The text, "" where nobody spoke, and what of it is settled.
        Raises:
            StageError: the recogniser failed.
        """
        clean_pcm = np.nan_to_num(np.asarray(pcm, np.float32), posinf=0.0, neginf=0.0)
        settled_samples, settled_text = 0, ""
        if earlier is not None and earlier.settled_samples <= len(clean_pcm):
            settled_samples, settled_text = earlier.settled_samples, earlier.settled_text
        while (cut := _where_to_settle(clean_pcm[settled_samples:])) is not None:
            words = self._hear(clean_pcm[settled_samples : settled_samples + cut])
            settled_text = _joined(settled_text, words)
            settled_samples += cut
        text = _joined(settled_text, self._hear(clean_pcm[settled_samples:]))
        return Transcript(text, settled_samples, settled_text)

    def warm_up(self) -> None:
        """Recognise a second of noise."""
        noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
        self._model.hear(0.01 * noise)

    def _hear(self, pcm: np.ndarray) -> str:
        """The words in at most a window of audio."""
        if len(pcm) < SHORTEST_S * SAMPLE_RATE or _loudest(pcm) < _INAUDIBLE:
            return ""
        heard = self._model.hear(pcm)
        if _nobody_speaks(heard):
            return ""
        if heard.is_unended or is_suspect(heard.tokens):
            heard = self._model.hear_wide(pcm)
            if heard.is_unended:
                return clean(self._model.text_of(without_loop(heard.tokens)))
        return clean(heard.text)


def build_whisper_asr(
    store: ModelStore, model: str = "whisper-tiny.en", threads: int = 1, **options: Any
) -> WhisperAsr:
    """Make the `whisper` plug-in.

    Args:
        store: where the model is.
        model: its id in the store.
        threads: of the recogniser.
        options: `compute_type` and `language` of `WhisperAsr`.
    Raises:
        ConfigError: an unknown option or model, or what `WhisperAsr` raises.
        ModelError: the model is not in the store, or damaged.
    """
    if unknown := sorted(set(options) - {"compute_type", "language"}):
        raise ConfigError(
            f"asr 'whisper' has no option {unknown[0]!r}; it has model, threads, compute_type, "
            "language"
        )
    return WhisperAsr(store.require(model), threads, **options)


def _where_to_settle(pcm: np.ndarray) -> int | None:
    """How many samples to settle, None while the audio fits the window."""
    if len(pcm) <= MAX_WINDOW_S * SAMPLE_RATE:
        return None
    first, last = int(MIN_SETTLED_S * SAMPLE_RATE), int(MAX_WINDOW_S * SAMPLE_RATE)
    return quietest_moment(pcm, SAMPLE_RATE, first, last)


def _nobody_speaks(heard: Hypothesis) -> bool:
    doubt = heard.no_speech_probability
    if is_written_on_silence(clean(heard.text)):
        return doubt > _MAYBE_NOBODY_SPEAKS
    return doubt > _NOBODY_SPEAKS and heard.mean_log_probability < _UNSURE_LOG_PROBABILITY


def _loudest(pcm: np.ndarray) -> float:
    """Root mean square of the loudest 20 ms."""
    frame = SAMPLE_RATE // 50
    power = pcm[: len(pcm) // frame * frame].reshape(-1, frame) ** 2
    return float(np.sqrt(power.mean(axis=1).max()))


def _joined(first: str, second: str) -> str:
    return f"{first} {second}".strip()
