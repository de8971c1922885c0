"""Whisper on CTranslate2, made cheap for short audio by borrowing encoded silence.

Whisper was trained on windows of 30 s, so a 2 s question is normally padded with 28 s of silence
that costs most of the time to encode. The encoder takes shorter windows just as well. But the
decoder then has no silence to look at when the words are over: it does not end the text, it says
it again ("What is your name? What is your name? ..."), the more often the shorter the padding.

So the silence is encoded once, when the model is loaded, and kept. A call encodes its own audio
with half a second of padding, and the decoder is shown that followed by the kept states of the
rest of the 30 s, every second one of them. `benchmarks/asr_window.py` compares this with padding.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.log_mel import N_MELS, SAMPLE_RATE, log_mel
from backtalk.errors import ConfigError, ModelError, StageError

WINDOW_S = 30.0
STATE_SAMPLES = 320
BORROWED_STRIDE = 2
OWN_PADDING_S = 0.5
WIDE_PADDING_S = 10.0
_WINDOW_STATES = int(WINDOW_S * SAMPLE_RATE) // STATE_SAMPLES

# Speech has at most about 6 tokens a second. More than this is not speech, it is a loop.
_TOKENS_PER_S = 8
_MIN_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the decoder made of a window.

    Attributes:
        text: as the model wrote it.
        tokens: its token ids, the end mark not among them.
        is_unended: the decoder was stopped before it ended the text.
        no_speech_probability: that nobody speaks, 0..1.
        mean_log_probability: of the tokens and the end mark, natural logarithm.
        encode_ms: time that features and encoder took.
        decode_ms: time that the decoder took.
    """

    text: str
    tokens: tuple[int, ...]
    is_unended: bool
    no_speech_probability: float
    mean_log_probability: float
    encode_ms: float = 0.0
    decode_ms: float = 0.0


class WhisperModel:
    """An encoder, a decoder and a tokenizer. Has no state between calls.

    Args:
        path: folder with a CTranslate2 Whisper (`model.bin`, `config.json`, `vocabulary.txt`) and
            `tokenizer.json`.
        threads: 1 or more. With 2 on 2 cores each decoder step took three times as long, because
            the threads wait for each other in it, and the encoder gained nothing below 10 s.
        compute_type: of the weights, in CTranslate2's words.
        language: code such as `en`; models made for English alone know no other.
    Raises:
        ConfigError: the model does not know the language, or a value is out of range.
        ModelError: a file is missing or damaged.
    """

    def __init__(
        self, path: Path, threads: int = 1, compute_type: str = "int8", language: str = "en"
    ) -> None:
        if threads < 1:
            raise ConfigError(f"whisper's threads is {threads}, but it must be 1 or more")
        self._tokenizer = _load_tokenizer(path)
        self._model = _load_model(path, threads, compute_type)
        self._prompt = self._prompt_for(language)
        if self._model.n_mels != N_MELS:
            raise ConfigError(
                f"the model in {path} takes {self._model.n_mels} mel bands, but only Whisper "
                f"models with {N_MELS} are supported (tiny, base, small, medium)"
            )
        self._silence = self._encode(_voice_then_silence())

    def hear(
        self,
        pcm: np.ndarray,
        padding_s: float = OWN_PADDING_S,
        stride: int = BORROWED_STRIDE,
    ) -> Hypothesis:
        """Recognise with borrowed silence.

        Args:
            pcm: float32 [T] at 16 kHz, finite, up to about 25 s.
            padding_s: seconds of silence encoded with it.
            stride: the decoder is shown every `stride`-th of the kept states.
        """
        return self._timed(pcm, padding_s, stride)

    def hear_wide(self, pcm: np.ndarray, padding_s: float = WIDE_PADDING_S) -> Hypothesis:
        """Recognise with real padding, which takes about three times as long.

        Args:
            pcm: float32 [T] at 16 kHz, finite.
            padding_s: seconds of silence behind it; the window is cut at 30 s.
        """
        return self._timed(pcm, padding_s, None)

    def _timed(self, pcm: np.ndarray, padding_s: float, stride: int | None) -> Hypothesis:
        began_s = time.perf_counter()
        states = self._encode(_padded(pcm, padding_s))
        encoded_s = time.perf_counter()
        if stride is not None:
            states = self._with_borrowed_silence(states, stride)
        heard = self._decode(states, _max_tokens(pcm))
        decoded_s = time.perf_counter()
        return replace(
            heard,
            encode_ms=1000 * (encoded_s - began_s),
            decode_ms=1000 * (decoded_s - encoded_s),
        )

    def text_of(self, tokens: Sequence[int]) -> str:
        """What the tokens spell."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def _with_borrowed_silence(self, own: np.ndarray, stride: int) -> np.ndarray:
        """Append kept states: float32 [1, N, width] becomes [1, N + borrowed, width].

        Each keeps its place in the 30 s, as the encoder marks every state with its position.
        """
        first = max(own.shape[1], _VOICE_STATES)
        return np.concatenate([own, self._silence[:, first::stride]], axis=1)

    def _encode(self, pcm: np.ndarray) -> np.ndarray:
        """Encoder states of float32 [T]: float32 [1, T // 320, width]."""
        features = np.ascontiguousarray(log_mel(pcm)[None])
        try:
            return np.array(self._model.encode(_view(features)))
        except (RuntimeError, ValueError) as error:
            raise StageError("asr", f"Whisper's encoder failed: {error}") from error

    def _decode(self, states: np.ndarray, max_tokens: int) -> Hypothesis:
        try:
            (result,) = self._model.generate(
                _view(np.ascontiguousarray(states)),
                [self._prompt],
                beam_size=1,
                max_length=2 * max_tokens,  # CTranslate2 generates half of what it is given
                return_scores=True,
                return_no_speech_prob=True,
            )
        except (RuntimeError, ValueError) as error:
            raise StageError("asr", f"Whisper's decoder failed: {error}") from error
        tokens = tuple(result.sequences_ids[0])
        return Hypothesis(
            text=self.text_of(tokens),
            tokens=tokens,
            is_unended=len(tokens) >= max_tokens,
            no_speech_probability=float(result.no_speech_prob),
            mean_log_probability=float(result.scores[0]) * len(tokens) / (len(tokens) + 1),
        )

    def _prompt_for(self, language: str) -> list[int]:
        marks = ["<|startoftranscript|>"]
        if self._model.is_multilingual:
            marks += [f"<|{language}|>", "<|transcribe|>"]
        elif language != "en":
            raise ConfigError(
                f"this Whisper knows English only, not {language!r}; use a model without .en"
            )
        ids = {mark: self._tokenizer.token_to_id(mark) for mark in [*marks, "<|notimestamps|>"]}
        if missing := [mark for mark, number in ids.items() if number is None]:
            raise ConfigError(f"this Whisper has no {missing[0]}; is {language!r} a language code?")
        return list(ids.values())


_VOICE_S = 2.0
_VOICE_STATES = int((_VOICE_S + 0.2) * SAMPLE_RATE) // STATE_SAMPLES


def _voice_then_silence() -> np.ndarray:
    """A buzz in syllables, then silence, 30 s in all: float32 [480000].

    Silence is encoded in the light of what came before it, and borrowed silence ended texts more
    surely if that was like a voice: harmonics of a gliding pitch, loud and soft 4 times a second.
    """
    time_s = np.arange(int(_VOICE_S * SAMPLE_RATE)) / SAMPLE_RATE
    pitch_hz = 120 + 30 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 30))
    syllables = np.maximum(np.sin(2 * np.pi * 4 * time_s), 0)
    window = np.zeros(int(WINDOW_S * SAMPLE_RATE), np.float32)
    window[: len(time_s)] = 0.1 * buzz * syllables
    return window


def _padded(pcm: np.ndarray, padding_s: float) -> np.ndarray:
    """Zeros behind the audio, up to a whole number of states and at most 30 s."""
    wanted = len(pcm) + int(padding_s * SAMPLE_RATE)
    states = min(-(-wanted // STATE_SAMPLES), _WINDOW_STATES)
    window = np.zeros(states * STATE_SAMPLES, np.float32)
    window[: len(pcm)] = pcm[: len(window)]
    return window


def _max_tokens(pcm: np.ndarray) -> int:
    return min(_MIN_TOKENS + int(_TOKENS_PER_S * len(pcm) / SAMPLE_RATE), 224)


def _view(array: np.ndarray) -> Any:
    import ctranslate2

    return ctranslate2.StorageView.from_array(array)


def _load_tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # tokenizers raises bare Exception
        raise _damaged(path, error) from error


def _load_model(path: Path, threads: int, compute_type: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ctranslate2
    try:
        return ctranslate2.models.Whisper(
            str(path), device="cpu", compute_type=compute_type, intra_threads=threads
        )
    except ValueError as error:
        raise ConfigError(f"whisper cannot run as {compute_type!r} here: {error}") from error
    except RuntimeError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:200]
    return ModelError(
        f"the Whisper model in {path} cannot be loaded ({reason}); "
        f"run `backtalk models get {path.name}`"
    )
