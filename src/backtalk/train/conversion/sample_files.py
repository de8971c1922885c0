"""Conversions to listen to while a voice learns: source, conversion and teacher, one after another.

samples/1.wav and so on in the folder of the run, 16 kHz; written anew at every scoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backtalk.audio.files import write_wav
from backtalk.llvc.config import SAMPLE_RATE
from backtalk.train.conversion.teacher import Pair

FOLDER = "samples"
_FILES = 4
_PAUSE = np.zeros(SAMPLE_RATE // 2, np.float32)


def write_samples(run: Path, pairs: Sequence[Pair], converted: Sequence[np.ndarray]) -> None:
    """Write the first few of them."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    for number, (pair, pcm) in enumerate(zip(pairs, converted, strict=True), 1):
        if number > _FILES:
            break
        parts = (pair.heard, _PAUSE, pcm.astype(np.float32), _PAUSE, pair.said)
        write_wav(folder / f"{number}.wav", np.concatenate(parts), SAMPLE_RATE)
