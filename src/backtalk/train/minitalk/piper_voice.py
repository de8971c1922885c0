"""A user's voice on Piper's VITS, with the time of each word.

Source: https://github.com/OHF-Voice/piper1-gpl, package `piper-tts` (GPL-3.0, the extra
`backtalk[piper]`). The times are the network's own phoneme durations.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from backtalk.errors import ConfigError, ModelError
from backtalk.train.minitalk.onnx_outputs import with_output
from backtalk.train.minitalk.spoken import Sound, Spoken, time_words

_DURATIONS = "/Ceil_output_0"
_SILENT = frozenset("^$_")


class PiperVoice:
    """Speaks as one Piper voice; the same sentences in the same order give the same samples.

    The network draws its noise from a generator that cannot be seeded per sentence: it is seeded
    when the network is loaded and goes on from there.

    Args:
        folder: with an `.onnx` file and its `.onnx.json`.
        seed: of the noise.
    Raises:
        ConfigError: `piper-tts` is not installed.
        ModelError: the voice's files are damaged.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        try:
            from piper.config import PiperConfig
            from piper.voice import PiperVoice as Voice
        except ImportError:
            raise ConfigError(
                "the user voice joe needs the package piper-tts (GPL-3.0), which is not installed; "
                "run: pip install 'backtalk[train]'"
            ) from None
        import onnxruntime as ort

        model = next(folder.glob("*.onnx"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        ort.set_seed(seed)
        try:
            config = PiperConfig.from_dict(json.loads(Path(f"{model}.json").read_text()))
            network = ort.InferenceSession(
                with_output(model.read_bytes(), _DURATIONS),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:
            raise ModelError(
                f"the Piper voice in {folder} cannot be loaded: {error}; "
                f"run `backtalk models get {folder.name}`"
            ) from error
        self.sample_rate: int = config.sample_rate
        self._voice = Voice(session=network, config=config)

    def speak(self, text: str, pace: float) -> Spoken:
        """One sentence, `pace` times as fast as the voice's own."""
        from piper.config import SynthesisConfig

        settings = SynthesisConfig(
            length_scale=self._voice.config.length_scale / pace, normalize_audio=False
        )
        pieces: list[np.ndarray] = [np.zeros(0, np.float32)]
        sounds: list[Sound] = []
        at = 0
        for chunk in self._voice.synthesize(text, settings, include_alignments=True):
            begin = at
            for phoneme in chunk.phoneme_alignments or ():
                end = begin + int(phoneme.num_samples)
                if phoneme.phoneme not in _SILENT:
                    sounds.append(
                        Sound(phoneme.phoneme, begin / self.sample_rate, end / self.sample_rate)
                    )
                begin = end
            sounds.append(Sound(" ", begin / self.sample_rate, begin / self.sample_rate))
            pieces.append(chunk.audio_float_array)
            at += len(chunk.audio_float_array)
        return Spoken(np.concatenate(pieces), self.sample_rate, time_words(text, sounds))
