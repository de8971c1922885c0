"""RVC v2 as the teacher, as in the paper: recordings converted to a voice that somebody trained.

The converter is the package `infer-rvc-python` (MIT; 1.3.1). Its speech encoder and its pitch
tracker are files that the package would fetch; here they are given. Pitch is moved by octaves only
(`melody.py` says why). This path has been run with a stand-in for the package only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.resample import resample
from backtalk.errors import ConfigError, ModelError
from backtalk.llvc.config import SAMPLE_RATE
from backtalk.train.conversion.melody import octave_up, track_pitch
from backtalk.train.conversion.target_voice import FRAME_S
from backtalk.train.conversion.teacher import Pair, ShardPlan
from backtalk.train.recordings import recordings

_FILES = ("hubert_base", "rmvpe.pt")
_TAG = "target"


@dataclass(frozen=True, slots=True)
class RvcTeacher:
    """See above.

    Attributes:
        voice: the `.pth` file of an RVC v2 voice.
        models: folder with `hubert_base` (a folder in Transformers' layout) and `rmvpe.pt`.
        sources: folder of recordings to convert.
    """

    voice: Path
    models: Path
    sources: Path

    @property
    def target(self) -> str:
        """See `Teacher`."""
        return f"RVC voice {self.voice.name}"

    @property
    def samples(self) -> str:
        """See `Teacher`."""
        return f"rvc {self.voice.name} of {self.sources.name}"

    def pairs(self, plan: ShardPlan) -> Iterator[Pair]:
        """Every `plan.shards`-th recording, converted.

        Raises:
            ConfigError: the package is not installed.
            ModelError: a file is missing, or RVC gave another length than it was given.
            TrainingError: there is no speech in `sources`.
        """
        converter = self._load()
        found = recordings(self.sources, held_out=plan.split == "held-out")
        for number, recording in enumerate(found):
            if number % plan.shards != plan.number:
                continue
            heard = resample(recording.pcm, recording.sample_rate, SAMPLE_RATE)
            frames = int(heard.size / SAMPLE_RATE / FRAME_S)
            semitones = 12 if octave_up(track_pitch(heard, frames)) > 1 else 0
            said = self._convert(converter, heard, semitones)
            yield Pair(heard, said, recording.name, "")

    def _load(self) -> Any:
        if missing := [
            path for path in (self.voice, *(self.models / name for name in _FILES))
            if not path.exists()
        ]:  # fmt: skip
            raise ModelError(f"RVC needs {missing[0]}, which is not there; see the RVC project")
        try:
            from infer_rvc_python import BaseLoader
        except ImportError as error:
            raise ConfigError(
                f"the RVC teacher needs a package ({error}); pip install infer-rvc-python"
            ) from error
        hubert, rmvpe = (str(self.models / name) for name in _FILES)
        return BaseLoader(only_cpu=True, hubert_path=hubert, rmvpe_path=rmvpe)

    def _convert(self, converter: Any, heard: np.ndarray, semitones: int) -> np.ndarray:
        converter.apply_conf(
            tag=_TAG, file_model=str(self.voice), pitch_algo="rmvpe", pitch_lvl=semitones
        )
        pcm, sample_rate = converter.generate_from_cache((heard, SAMPLE_RATE), _TAG)
        said = np.asarray(pcm, np.float32)
        if np.issubdtype(np.asarray(pcm).dtype, np.integer):
            said /= 32768.0
        said = resample(said, sample_rate, SAMPLE_RATE)
        if abs(said.size - heard.size) > 0.05 * SAMPLE_RATE:
            raise ModelError(
                f"RVC made {said.size} samples of {heard.size}; pairs must be equally long"
            )
        return np.pad(said[: heard.size], (0, max(0, heard.size - said.size)))
