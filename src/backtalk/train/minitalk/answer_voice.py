"""The voice of all answers: hibari's `heart`, the cascade's default, with the time of each word.

Source: https://github.com/MMWilliams/hibari (Apache-2.0), package `hibari-tts`. The times are the
network's own phoneme durations, in steps of 25 ms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backtalk.cascade.hibari_tts import HibariTts
from backtalk.errors import ConfigError, StageError
from backtalk.train.minitalk.onnx_outputs import with_output
from backtalk.train.minitalk.spoken import Sound, Spoken, time_words

NAME = "heart"
_DURATIONS = "/Clip_output_0"
UNIT_S = 0.025
"""Phoneme durations are multiples of it."""


def open_hibari() -> tuple[Any, Any]:
    """The voice, and a session of its network whose last output are phoneme durations.

    Raises:
        ConfigError: hibari is of a version whose network is built otherwise.
    """
    import onnxruntime as ort
    from hibari import Hibari

    hibari = Hibari(voice=NAME)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = with_output(Path(hibari.model_path).read_bytes(), _DURATIONS)
    try:
        return hibari, ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigError(
            f"this version of hibari-tts does not tell phoneme durations ({error}); "
            "run: pip install 'hibari-tts==0.2.1'"
        ) from error


class AnswerVoice:
    """Speaks answers; the same text and seed give the same samples.

    Raises:
        ConfigError: hibari is of a version whose network is built otherwise.
    """

    sample_rate = HibariTts.sample_rate

    def __init__(self) -> None:
        self._hibari, self._network = open_hibari()

    def speak(self, text: str, seed: int) -> Spoken:
        """One sentence.

        Raises:
            StageError: there is nothing to say in it, or the network failed.
        """
        from hibari import dsp

        phonemes = self._hibari.g2p(text)
        ids = self._hibari.ids(phonemes)
        if len(ids) < 3:
            raise StageError("tts", f"hibari has nothing to say in {text!r}")
        feeds = {
            "ids": np.asarray([ids], np.int64),
            "speed": np.ones(1, np.float32),
        }
        *spectra, durations = self._network.run(None, feeds)
        pcm = dsp.synth(*(part[0] for part in spectra), np.random.default_rng(seed))
        known = [symbol for symbol in phonemes if symbol in self._hibari.vocab]
        ends_s = np.cumsum(durations) * UNIT_S
        # Each end stands for a phoneme's id; the first and the last id are silence.
        sounds = [
            Sound(symbol, float(ends_s[n]), float(ends_s[n + 1])) for n, symbol in enumerate(known)
        ]
        return Spoken(np.asarray(pcm, np.float32), self.sample_rate, time_words(text, sounds))
