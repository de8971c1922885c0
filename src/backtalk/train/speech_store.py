"""Speech decoded once into flat files that are mapped, not read: any window costs nothing to find.

speech.train.int16, speech.held-out.int16     samples of all recordings, one after the other
speech.json                                   their rate, source and lengths
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.resample import resample
from backtalk.train.made_once import made_once
from backtalk.train.recordings import Recording, recordings
from backtalk.train.training_error import TrainingError

INDEX = "speech.json"
HELD_OUT_HOURS = 0.2
"""More than this of the held-out recordings is not read."""


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """Recordings behind each other.

    Attributes:
        pcm: int16 [N], mapped.
        starts: int64 [recordings + 1], where each begins, and the end of the last.
        source: name of the folder it was read from.
    """

    pcm: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    sample_rate: int
    source: str

    @property
    def hours(self) -> float:
        """All of it."""
        return len(self.pcm) / self.sample_rate / 3600


def open_speech(data: Path, folder: Path, sample_rate: int, hours: float) -> tuple[Speech, Speech]:
    """The speech to learn from and the speech held out, decoded into `folder` the first time.

    Args:
        data: see `recordings`.
        sample_rate: Hz wanted.
        hours: at most, to learn from.
    Raises:
        TrainingError: there is too little speech, or no room for it.
        BacktalkError: a recording is damaged.
    """
    wanted = {"data": str(data.resolve()), "sample_rate": sample_rate, "hours": hours}

    def decode() -> dict[str, list[int]]:
        return {
            "train": _decode(folder, "train", recordings(data, held_out=False), wanted),
            "held-out": _decode(folder, "held-out", recordings(data, held_out=True), wanted),
        }

    lengths = made_once(folder / INDEX, wanted, decode, "decoded speech")
    learned, held_out = (
        _open(folder, split, lengths[split], sample_rate, data.name)
        for split in ("train", "held-out")
    )
    return learned, held_out


def _decode(
    folder: Path, split: str, found: Iterable[Recording], wanted: dict[str, Any]
) -> list[int]:
    """Write the samples of a split; the length of each recording."""
    rate = wanted["sample_rate"]
    hours = wanted["hours"] if split == "train" else HELD_OUT_HOURS
    left = int(hours * 3600 * rate)
    lengths: list[int] = []
    with _path(folder, split).open("wb") as file:
        for recording in found:
            pcm = resample(recording.pcm, recording.sample_rate, rate)[:left]
            if not pcm.size:
                continue
            file.write(np.round(np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())
            lengths.append(pcm.size)
            left -= pcm.size
            if left <= 0:
                break
    if not lengths:
        raise TrainingError(f"{wanted['data']} holds no speech for {split}; give another folder")
    return lengths


def _open(folder: Path, split: str, lengths: list[int], sample_rate: int, source: str) -> Speech:
    path = _path(folder, split)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if not path.is_file() or path.stat().st_size != 2 * starts[-1]:
        raise TrainingError(
            f"{path} is missing or cut short; delete {folder / INDEX} to decode anew"
        )
    return Speech(np.memmap(path, "<i2", mode="r"), starts, sample_rate, source)


def _path(folder: Path, split: str) -> Path:
    return folder / f"speech.{split}.int16"
