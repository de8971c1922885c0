"""Piper as a synthesiser: a VITS voice, ten times slower than hibari and with other timbres.

Source: https://github.com/OHF-Voice/piper1-gpl, package `piper-tts`. That package and the
espeak-ng inside it are GPL-3.0, so it is the optional extra `backtalk[piper]`, imported only when
this voice is asked for; Backtalk itself contains none of it. The default voice's recordings are
CC0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.cascade.protocols import SpokenChunk
from backtalk.cascade.speech_edges import fit_edges, pause_after_ms
from backtalk.cascade.speech_pieces import split_long
from backtalk.errors import ConfigError, StageError
from backtalk.stream.cancel import CancelToken

if TYPE_CHECKING:
    from backtalk.models.store import ModelStore

SPEED_RANGE = (0.5, 2.0)
# Other kinds of voice load dictionaries on first use, and one of them downloads its own.
_PHONEMES_ON_BOARD = ("espeak", "text")


class PiperTts:
    """Speaks with one Piper voice (`protocols.Tts`).

    Holds no state between calls. Piper's network draws its noise from a generator without a seed,
    so two calls with the same text differ a little in pace and melody.

    Args:
        model: the voice's `.onnx` file; its `.onnx.json` must lie beside it.
        speed: pace, 0.5 to 2.0; 1.0 is the voice's own.
        threads: of the network, 1 or more.
    Raises:
        ConfigError: `piper-tts` is not installed, the voice's files are missing or of a kind that
            would need a download, or a value is out of range.
    """

    def __init__(self, model: Path, speed: float = 1.0, threads: int = 1) -> None:
        low, high = SPEED_RANGE
        if not low <= speed <= high:
            raise ConfigError(f"piper's speed is {speed}, but it must be {low} to {high}")
        if threads < 1:
            raise ConfigError(f"piper's threads is {threads}, but it must be 1 or more")
        self.description = f"piper {model.stem}"
        self._speed = speed
        self._voice = _load(model, threads)
        self.sample_rate: int = self._voice.config.sample_rate

    def speak(self, text: str, cancel: CancelToken) -> Iterator[SpokenChunk]:
        """Yield one chunk per sentence that Piper sees in `text`, each with fitted edges.

        The first chunk of every 200 characters carries their text. Text without a letter or digit
        is skipped, because Piper would read the names of its symbols.

        Raises:
            StageError: the network or the phonemiser failed.
        """
        for piece in split_long(text):
            said = piece
            for chunk in self._synthesise(piece):
                if cancel.is_cancelled:
                    return
                mark = chunk.phonemes[-1] if chunk.phonemes else ""
                pause_ms = pause_after_ms(mark) / self._speed
                pcm = fit_edges(chunk.audio_float_array, self.sample_rate, pause_ms)
                if pcm.size:
                    yield SpokenChunk(pcm, said)
                    said = ""
            if cancel.is_cancelled:
                return

    def warm_up(self) -> None:
        """Speak something, unheard."""
        for _ in self._synthesise("Hello there."):
            pass

    def _synthesise(self, piece: str) -> Iterator[Any]:
        """Piper's own chunks, one per sentence, each made when it is asked for."""
        from piper.config import SynthesisConfig

        # Normalising would bring every sentence to full scale, each by its own factor.
        settings = SynthesisConfig(length_scale=self._length_scale(), normalize_audio=False)
        try:
            yield from self._voice.synthesize(piece, settings)
        except Exception as error:
            raise StageError("tts", f"piper could not speak {piece[:60]!r}: {error}") from error

    def _length_scale(self) -> float:
        own: float = self._voice.config.length_scale
        return own / self._speed


def build_piper_tts(
    store: ModelStore | None = None,
    *,
    voice: str = "joe",
    speed: float = 1.0,
    threads: int = 1,
) -> PiperTts:
    """Make the `piper` plug-in.

    Args:
        store: where the voice's files are; by default the user's own store.
        voice: `joe` means the store's model `piper-joe`; a path to an `.onnx` file means that
            file.
        speed, threads: see `PiperTts`.
    Raises:
        ConfigError: what `PiperTts` raises.
        ModelError: the voice is not in the store; says how to fetch it.
    """
    return PiperTts(_voice_file(store, voice), speed, threads)


def _voice_file(store: ModelStore | None, voice: str) -> Path:
    if voice.endswith(".onnx"):
        return Path(voice).expanduser()
    from backtalk.models.store import ModelStore

    folder = (store or ModelStore.default()).require(f"piper-{voice}")
    return next(folder.glob("*.onnx"))


def _load(model: Path, threads: int) -> Any:
    """A `PiperVoice` on a session of our own: Piper's takes every core and spins between calls."""
    try:
        from piper.config import PiperConfig
        from piper.voice import PiperVoice
    except ImportError:
        raise ConfigError(
            "the tts 'piper' needs the package piper-tts (GPL-3.0), which is not installed; "
            'run: pip install "backtalk[piper]"'
        ) from None
    import onnxruntime as ort

    settings = Path(f"{model}.json")
    for file in (model, settings):
        if not file.is_file():
            raise ConfigError(f"piper voice file {file} does not exist")
    try:
        raw = json.loads(settings.read_text(encoding="utf-8"))
        config = PiperConfig.from_dict(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{settings} is not a Piper voice description: {error!r}") from error
    kind = config.phoneme_type.value
    if kind not in _PHONEMES_ON_BOARD:
        raise ConfigError(
            f"piper voice {model.name} reads {kind!r} phonemes, which need data that is fetched on "
            f"first use; use a voice that reads {' or '.join(_PHONEMES_ON_BOARD)}"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigError(f"{model} is not a Piper voice: {error}") from error
    return PiperVoice(session=session, config=config)
