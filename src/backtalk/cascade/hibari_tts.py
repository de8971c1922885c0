"""The default synthesiser: hibari, an 8 MB English voice that runs 100 times faster than real time.

Source: https://github.com/MMWilliams/hibari (Apache-2.0), package `hibari-tts`. One ONNX network
turns the phonemes of a sentence into spectra in one shot and numpy turns those into 24 kHz audio,
both on one core; a clause of 30 characters takes about 20 ms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.cascade.protocols import SpokenChunk
from backtalk.cascade.speech_edges import fit_edges, pause_after_ms
from backtalk.cascade.speech_pieces import split_long
from backtalk.errors import ConfigError, StageError
from backtalk.stream.cancel import CancelToken

if TYPE_CHECKING:
    from backtalk.models.store import ModelStore

SPEED_RANGE = (0.5, 2.0)
# "zibbly" is in no lexicon: it loads the network that spells unknown words, 50 ms better spent now.
_WARM_UP_TEXT = "Hello there, zibbly, it is 3 o'clock."
# hibari counts to decillions and fails beyond; long before that nobody can follow a number.
_LONG_NUMBER = re.compile(r"\d(?:,?\d){15,}")


class HibariTts:
    """Speaks English with one hibari voice (`protocols.Tts`).

    Holds no state between calls, so several sessions may share one and call it at the same time.

    Args:
        voice: `heart` comes with the package; the others (`emma`, `fable`, `fenrir`, `kore`) are
            used if hibari's own cache already has their file, and are never fetched from here.
        speed: pace, 0.5 to 2.0; 1.0 is the voice's own.
        seed: of the noise part of the voice; the same text then gives the same samples. None
            draws anew for every piece.
        threads: of the network, 1 or more. More than 1 was slower on two cores.
    Raises:
        ConfigError: no such voice, its file is not on this machine, or a value is out of range.
    """

    sample_rate = 24_000

    def __init__(
        self, voice: str = "heart", speed: float = 1.0, seed: int | None = 0, threads: int = 1
    ) -> None:
        low, high = SPEED_RANGE
        if not low <= speed <= high:
            raise ConfigError(f"hibari's speed is {speed}, but it must be {low} to {high}")
        if threads < 1:
            raise ConfigError(f"hibari's threads is {threads}, but it must be 1 or more")
        self.description = f"hibari {voice}"
        self._speed = speed
        self._seed = seed
        self._hibari = _load(voice, threads)

    def speak(self, text: str, cancel: CancelToken) -> Iterator[SpokenChunk]:
        """Yield one chunk per sentence, or per 200 characters of a sentence longer than that.

        Each starts about 10 ms before its first audible sample and ends with the pause that its
        punctuation asks for. Text with nothing to say in it (symbols, foreign script) is skipped.

        Raises:
            StageError: the network or the phonemiser failed.
        """
        for sentence in _sentences(self._hibari, _readable_digits(text)):
            for piece in split_long(sentence):
                if cancel.is_cancelled:
                    return
                pcm = self._synthesise(piece)
                if pcm.size and not cancel.is_cancelled:
                    yield SpokenChunk(pcm, piece)

    def warm_up(self) -> None:
        """Speak something, unheard."""
        self._synthesise(_WARM_UP_TEXT)

    def _synthesise(self, piece: str) -> np.ndarray:
        """Float32 [T] at 24 kHz with fitted edges, empty if there was nothing to say."""
        try:
            phonemes = self._hibari.g2p(piece)
            # Marks without a sound between them would be sung as a short moan.
            if not any(char.isalpha() for char in phonemes):
                return np.zeros(0, np.float32)
            pcm = self._hibari.from_phonemes(phonemes, self._speed, self._seed)
        except Exception as error:
            raise StageError("tts", f"hibari could not speak {piece[:60]!r}: {error}") from error
        return fit_edges(pcm, self.sample_rate, pause_after_ms(piece) / self._speed)


def build_hibari_tts(
    store: ModelStore | None = None,
    *,
    voice: str = "heart",
    speed: float = 1.0,
    seed: int | None = 0,
    threads: int = 1,
) -> HibariTts:
    """Make the `hibari` plug-in; its files come with the package, so `store` is not used.

    Args and errors are those of `HibariTts`.
    """
    return HibariTts(voice, speed, seed, threads)


def _load(voice: str, threads: int) -> Any:
    from hibari import Hibari
    from hibari.voices import VOICES, voice_path

    if voice not in VOICES:
        raise ConfigError(f"hibari has no voice {voice!r}; it has {', '.join(sorted(VOICES))}")
    try:
        path = voice_path(voice, download_missing=False)
    except FileNotFoundError as missing:
        raise ConfigError(_how_to_get(voice, str(missing))) from None
    try:
        hibari = Hibari(voice=voice, model=path, threads=threads)
        if threads > 1:
            hibari.sess = _session_that_sleeps(path, threads)
        _ = hibari.g2p  # Loads half a second of lexicons, otherwise on the first call.
    except Exception as error:
        raise ConfigError(
            f"hibari voice {voice!r} cannot be loaded from {path}: {error}; delete that file and "
            "run: pip install --force-reinstall hibari-tts"
        ) from error
    return hibari


def _how_to_get(voice: str, path: str) -> str:
    return (
        f"hibari voice {voice!r} is not on this machine (no file {path}); fetch it once with: "
        f"python -c \"from hibari.voices import voice_path; voice_path('{voice}')\""
    )


def _session_that_sleeps(path: str, threads: int) -> Any:
    """hibari's network on `threads` threads that do not spin between calls.

    hibari's own session leaves ONNX Runtime's default on, and the threads then burn a core for
    30 ms after every call, which the recogniser and the language model need.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _readable_digits(text: str) -> str:
    """Digits that hibari cannot read, such as the one in a circle, and digits in endless numbers.

    The first become plain digits; a number of 16 digits or more is read digit by digit.
    """
    plain = "".join(
        str(unicodedata.digit(char)) if char.isdigit() and not char.isdecimal() else char
        for char in text
    )
    return _LONG_NUMBER.sub(lambda number: " ".join(number.group().replace(",", "")), plain)


def _sentences(hibari: Any, text: str) -> list[str]:
    sentences: list[str] = hibari.split_sentences(text)
    # hibari drops closing quotes where it splits; unsplit text keeps every character.
    return sentences if len(sentences) > 1 else [text.strip()]
