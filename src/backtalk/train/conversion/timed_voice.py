"""Joe with the timing of somebody else: Piper's network, told how long every phoneme lasts.

A VITS network (arXiv 2106.06103) makes its sound from durations that it guesses. Given other ones
it says the same sentence at other moments, without any stretching of sound.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.resample import resample
from backtalk.errors import ConfigError, ModelError
from backtalk.llvc.config import SAMPLE_RATE
from backtalk.train.conversion.onnx_inputs import with_input
from backtalk.train.conversion.timing import time_map
from backtalk.train.minitalk.spoken import Sound

NAME = "joe"
_DURATIONS = "/Ceil_output_0"
_FRAME_SAMPLES = 256
_NOISE, _DURATION_NOISE = 0.667, 0.8
_LATE_S = 0.04
"""By which his sounds come after hibari's when both are given the same times: where the correlation
of their mel spectrograms has its maximum."""


class TimedVoice:
    """Speaks as Joe. The same sentences in the same order give the same samples.

    Args:
        folder: with Joe's `.onnx` file and its `.onnx.json`.
        seed: of the network's noise, which cannot be seeded sentence by sentence.
    Raises:
        ConfigError: `piper-tts` is not installed.
        ModelError: the files are damaged.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        try:
            from piper.config import PiperConfig
            from piper.voice import PiperVoice
        except ImportError:
            raise ConfigError(
                "the voice joe needs the package piper-tts (GPL-3.0), which is not installed; "
                "run: pip install 'backtalk[train]'"
            ) from None
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        ort.set_seed(seed)
        try:
            model = next(folder.glob("*.onnx"))
            config = PiperConfig.from_dict(json.loads(Path(f"{model}.json").read_text()))
            network, self._own_durations = with_input(model.read_bytes(), _DURATIONS, 3)
            self._network: Any = ort.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(
                f"the Piper voice in {folder} cannot be loaded: {error}; "
                f"run `backtalk models get {folder.name}`"
            ) from error
        self._rate: int = config.sample_rate
        self._voice: Any = PiperVoice(session=self._network, config=config)
        self._symbols = {ids[0]: symbol for symbol, ids in config.phoneme_id_map.items()}

    def say(
        self, text: str, wanted: Sequence[Sound], samples: int, size: float
    ) -> np.ndarray | None:
        """A sentence in a given time.

        Args:
            wanted: when its phonemes should be heard.
            samples: of the whole, at 16 kHz.
            size: pitch and formants are divided by it, as of a larger or smaller man.
        Returns:
            float32 [samples] at 16 kHz; None if the voice pronounces the text otherwise.
        """
        phonemes = [one for sentence in self._voice.phonemize(text) for one in sentence]
        ids = self._voice.phonemes_to_ids(phonemes)
        own = self._run(ids, np.ones(len(ids)), self._own_durations)[0, 0]
        frame_s = _FRAME_SAMPLES / self._rate
        ends_s = np.cumsum(own) * frame_s
        sounds = [
            Sound(self._symbols[one], float(end_s - length * frame_s), float(end_s))
            for one, end_s, length in zip(ids, ends_s, own, strict=True)
        ]
        seconds = samples / SAMPLE_RATE
        found = time_map(sounds, wanted, float(ends_s[-1]), seconds)
        if found is None:
            return None
        # He is asked to be quick where the tape will then be slowed down, which makes him larger.
        moved_s = np.maximum(np.interp(ends_s, *found) - _LATE_S, 0.0)
        moved_s[-1] = seconds
        ends = np.round(moved_s / size / frame_s)
        durations = np.maximum(np.diff(ends, prepend=0.0), 0.0)
        pcm = self._run(ids, durations, "output").reshape(-1)
        pcm = resample(pcm.astype(np.float32), round(self._rate / size), SAMPLE_RATE)[:samples]
        return np.pad(pcm, (0, samples - pcm.size))

    def _run(self, ids: Sequence[int], durations: np.ndarray, output: str) -> np.ndarray:
        feeds = {
            "input": np.asarray([ids], np.int64),
            "input_lengths": np.asarray([len(ids)], np.int64),
            "scales": np.asarray([_NOISE, 1.0, _DURATION_NOISE], np.float32),
            _DURATIONS: np.asarray(durations, np.float32)[None, None],
        }
        found: np.ndarray = self._network.run([output], feeds)[0]
        return found
