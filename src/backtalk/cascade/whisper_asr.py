"""The default recogniser: Whisper on CTranslate2, hearing as little silence as possible.

Whisper's encoder always hears 30 s, most of it padding: 0.3 s of work on two cores here, for a
two-second question. CTranslate2 accepts a shorter window and then takes 20 ms, but the decoder,
which never saw a recording end so early, often starts over and repeats the sentence until it is
stopped. What tells it that the recording is over is what the encoder makes of the silent rest. So
the rest is heard once, when the model is loaded, and its states (every `_TAIL_STRIDE`-th of them)
are put behind those of every short window. `benchmarks/asr_window.py` measures what that costs in
accuracy.

Source: Radford et al. 2022 (arXiv 2212.04356); models converted by github.com/SYSTRAN (MIT).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backtalk.audio.log_mel import log_mel
from backtalk.cascade.protocols import Transcript
from backtalk.errors import ConfigError, ModelError, StageError

if TYPE_CHECKING:
    from backtalk.models.store import ModelStore

WINDOW_SAMPLES = 30 * 16000
SETTLE_AFTER_SAMPLES = 8 * 16000
"""A turn longer than this is settled at its next pause, so that work at the end stays bounded."""

_STATE_SAMPLES = 320  # the encoder gives one state for 20 ms
_PAD_SAMPLES = 8000
_LONGEST_SAMPLES = 28 * 16000
_CUT_FROM_SAMPLES = 18 * 16000
_CUT_SAMPLES = 1600
_TAIL_STRIDE = 2
_TOKENS_PER_S = 8
_SPARE_TOKENS = 12

_QUIET_DBFS = -60.0
_PAUSE_SAMPLES = 800
_PAUSE_BELOW_SPEECH = 0.1  # 20 dB
_SILENT_PROBABILITY = 0.6
_UNSURE_LOG_PROBABILITY = -1.0
# What Whisper writes for noise, from having been trained on subtitles.
_INVENTED = frozenset(
    ("you", "thank you", "thanks for watching", "thank you for watching", "bye", "so", "the", "oh")
)
_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|\*[^*]*\*|♪+")


class WhisperAsr:
    """Recognises one turn at a time (`protocols.Asr`).

    Args:
        folder: of a Whisper model in CTranslate2's form: `model.bin`, `config.json`,
            `vocabulary.txt`, `tokenizer.json`.
        threads: of the encoder and decoder.
        is_windowed: False pads every call to 30 s, as Whisper was trained.
    Raises:
        ModelError: the files cannot be loaded.
    """

    sample_rate = 16000

    def __init__(self, folder: Path, threads: int = 2, *, is_windowed: bool = True) -> None:
        import ctranslate2
        import tokenizers

        self.description = folder.name + ("" if is_windowed else ", 30 s window")
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type="int8", intra_threads=threads
            )
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # both libraries raise bare exceptions for damaged files
            raise ModelError(
                f"{folder} cannot be loaded as a Whisper model: {error}; run `backtalk models get`"
            ) from error
        self._view = ctranslate2.StorageView.from_array
        marks = ["<|startoftranscript|>", "<|notimestamps|>"]
        if self._model.is_multilingual:
            marks[1:1] = ["<|en|>", "<|transcribe|>"]
        self._prompt = [self._tokenizer.token_to_id(mark) for mark in marks]
        self._is_windowed = is_windowed
        self._tail = self._encode(_tail_sound()) if is_windowed else None

    def transcribe(self, pcm: np.ndarray, earlier: Transcript | None = None) -> Transcript:
        """Recognise a turn; see `protocols.Asr.transcribe`."""
        earlier = earlier or Transcript("")
        fresh = np.nan_to_num(pcm[earlier.settled_samples :], posinf=0.0, neginf=0.0)
        try:
            words = [self._recognise(piece) for piece in _pieces(fresh.astype(np.float32))]
        except Exception as error:  # CTranslate2 raises bare RuntimeErrors
            raise StageError("asr", f"Whisper failed on this turn: {error}") from error
        text = " ".join(word for word in (earlier.settled_text, *words) if word)
        if len(fresh) >= SETTLE_AFTER_SAMPLES and _ends_in_pause(fresh):
            return Transcript(text, len(pcm), text)
        return Transcript(text, earlier.settled_samples, earlier.settled_text)

    def warm_up(self) -> None:
        """Two seconds of nothing, twice."""
        for _ in range(2):
            self._recognise(0.01 * np.sin(np.arange(32000, dtype=np.float32)))

    def _recognise(self, pcm: np.ndarray) -> str:
        """The words in up to 28 s of audio, "" if there are none."""
        if len(pcm) < _STATE_SAMPLES or _dbfs(pcm) < _QUIET_DBFS:
            return ""
        states = self._encode(pcm)
        result = self._model.generate(
            self._view(states),
            [self._prompt],
            beam_size=1,
            max_length=len(self._prompt) + _SPARE_TOKENS + _TOKENS_PER_S * len(pcm) // 16000,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        text = self._tokenizer.decode(result.sequences_ids[0])
        text = " ".join(_BRACKETS.sub(" ", text).split())
        is_unsure = result.scores[0] < _UNSURE_LOG_PROBABILITY
        is_silent = result.no_speech_prob > _SILENT_PROBABILITY
        bare = re.sub(r"[^a-z ]", "", text.lower()).strip()
        if not bare and not re.search(r"\w", text):
            return ""
        if (is_silent and is_unsure) or (bare in _INVENTED and (is_silent or is_unsure)):
            return ""
        return text

    def _encode(self, pcm: np.ndarray) -> np.ndarray:
        """Encoder states, float32 [1, N, D], of the audio and of the silence behind it."""
        samples = WINDOW_SAMPLES
        if self._is_windowed and len(pcm) != WINDOW_SAMPLES:
            samples = -(-(len(pcm) + _PAD_SAMPLES) // _STATE_SAMPLES) * _STATE_SAMPLES
        window = np.zeros(samples, np.float32)
        window[: len(pcm)] = pcm
        features = np.ascontiguousarray(log_mel(window)[None])
        states = np.asarray(self._model.encode(self._view(features)))
        if samples == WINDOW_SAMPLES or self._tail is None:
            return states
        tail = self._tail[:, states.shape[1] :: _TAIL_STRIDE]
        return np.ascontiguousarray(np.concatenate([states, tail], axis=1))


def _tail_sound() -> np.ndarray:
    """Thirty seconds of which the first two hold something like speech, and the rest nothing."""
    seconds = np.arange(2 * 16000) / 16000
    pitch_hz = 120 + 30 * np.sin(2 * np.pi * 0.7 * seconds)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / 16000
    voice = sum(np.sin(n * phase) / n for n in range(1, 30))
    syllables = np.clip(np.sin(2 * np.pi * 4 * seconds), 0, 1)
    noise = 0.005 * np.random.default_rng(1).standard_normal(len(seconds))
    sound = np.zeros(WINDOW_SAMPLES, np.float32)
    sound[: len(seconds)] = 0.1 * voice * syllables + noise
    return sound


def _pieces(pcm: np.ndarray) -> list[np.ndarray]:
    """Cut audio that is too long for one window at its quietest places."""
    pieces = []
    while len(pcm) > _LONGEST_SAMPLES:
        frames = pcm[_CUT_FROM_SAMPLES:_LONGEST_SAMPLES].reshape(-1, _CUT_SAMPLES)
        quietest = int(np.argmin((frames**2).mean(axis=1)))
        cut = _CUT_FROM_SAMPLES + quietest * _CUT_SAMPLES + _CUT_SAMPLES // 2
        pieces.append(pcm[:cut])
        pcm = pcm[cut:]
    return [*pieces, pcm]


def _ends_in_pause(pcm: np.ndarray) -> bool:
    """Whether the last 50 ms are much quieter than the loud parts."""
    frames = pcm[len(pcm) % _PAUSE_SAMPLES :].reshape(-1, _PAUSE_SAMPLES)
    levels = np.sqrt((frames**2).mean(axis=1))
    return bool(levels[-1] < _PAUSE_BELOW_SPEECH * np.percentile(levels, 90))


def _dbfs(pcm: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt((pcm.astype(np.float64) ** 2).mean()) + 1e-12))


def build_whisper_asr(
    store: ModelStore, model: str = "whisper-tiny.en", threads: int = 2, *, windowed: bool = True
) -> WhisperAsr:
    """The `whisper` recogniser.

    Args:
        store: where `model` is.
        model: a Whisper model of the store.
        threads: of CTranslate2, 1 or more.
        windowed: see `WhisperAsr`.
    Raises:
        ModelError: the model is not in the store, or damaged.
        ConfigError: an option makes no sense.
    """
    if threads < 1:
        raise ConfigError(f"whisper's threads is {threads}, but it must be 1 or more")
    return WhisperAsr(store.require(model), threads, is_windowed=windowed)
