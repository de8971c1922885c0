"""Speech of one voice with its units, encoded once into flat files that are mapped, not read.

unit-speech.train.int16, unit-speech.held-out.int16     samples, of each recording whole units
unit-speech.train.units, unit-speech.held-out.units     a uint16 for every unit of them
unit-speech.json                                        what they are of, and lengths in units
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backtalk.audio.resample import resample
from backtalk.codecs.unit_vocoder.unit_vocoder_model import NOTHING
from backtalk.codecs.units.runs import to_runs
from backtalk.codecs.units.unit_tokenizer import UnitTokenizer
from backtalk.train.made_once import made_once
from backtalk.train.recordings import Recording, recordings
from backtalk.train.training_error import TrainingError

INDEX = "unit-speech.json"
HELD_OUT_HOURS = 0.1
"""More than this of the held-out recordings is not read."""


@dataclass(frozen=True, slots=True, eq=False)
class UnitSpeech:
    """Recordings behind each other.

    Attributes:
        pcm: int16 [N * hop_samples] at the tokenizer's rate, mapped.
        units: uint16 [N], mapped.
        starts: int64 [recordings + 1], the unit at which each begins, and the end of the last.
        hours: all of it.
        source: name of the folder it was read from.
    """

    pcm: np.ndarray = field(repr=False)
    units: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    hop_samples: int
    hours: float
    source: str

    def piece(self, first: int, count: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
        """A piece of a recording, and its units with their neighbours.

        Args:
            first: number of its first unit; all must be of one recording.
            count: units.
            reach: neighbours on either side; `NOTHING` where the recording does not go so far.
        Returns:
            int64 [reach + count + reach], and float32 [count * hop_samples].
        """
        number = int(np.searchsorted(self.starts, first, side="right")) - 1
        begin = max(first - reach, int(self.starts[number]))
        end = min(first + count + reach, int(self.starts[number + 1]))
        units = np.full(count + 2 * reach, NOTHING)
        at = begin - (first - reach)
        units[at : at + end - begin] = self.units[begin:end]
        hop = self.hop_samples
        pcm = self.pcm[first * hop : (first + count) * hop].astype(np.float32) / 32768
        return units, pcm

    def draw(
        self, count: int, units: int, reach: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random pieces, every place as likely as any other; see `piece`.

        Returns:
            int64 [count, reach + units + reach] and float32 [count, units * hop_samples].
        """
        lengths = np.diff(self.starts) - units + 1
        ends = np.cumsum(lengths)
        places = random.integers(ends[-1], size=count)
        numbers = np.searchsorted(ends, places, side="right")
        firsts = self.starts[numbers] + places - (ends - lengths)[numbers]
        pieces = [self.piece(int(first), units, reach) for first in firsts]
        return np.stack([each[0] for each in pieces]), np.stack([each[1] for each in pieces])

    def draw_runs(
        self, count: int, most: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The runs of random recordings, or of pieces of `most` units of those that are longer.

        Returns:
            The runs, int64 [count, most] with `NOTHING` behind the last, and their lengths: 0
            behind the last, and for those at which a recording was cut.
        """
        runs = np.full((count, most), NOTHING, np.int64)
        lengths = np.zeros((count, most), np.int64)
        for row, number in enumerate(random.integers(len(self.starts) - 1, size=count)):
            begin, end = int(self.starts[number]), int(self.starts[number + 1])
            first = int(random.integers(begin, max(begin, end - most) + 1))
            last = min(first + most, end)
            found, long = to_runs(self.units[first:last])
            long[0] *= first == begin
            long[-1] *= last == end
            runs[row, : len(found)] = found
            lengths[row, : len(found)] = long
        return runs, lengths


def open_unit_speech(
    data: Path, folder: Path, tokenizer: UnitTokenizer, hours: float, least_units: int
) -> tuple[UnitSpeech, UnitSpeech]:
    """The speech to learn from and the speech held out, encoded into `folder` the first time.

    Args:
        data: a MiniTalk corpus, of which only the answers are read, or a folder of recordings of
            one voice; see `recordings`.
        hours: at most, to learn from.
        least_units: shorter recordings are left out.
    Raises:
        TrainingError: there is too little speech, or no room for it.
        BacktalkError: a recording is damaged.
    """
    wanted = {
        "data": str(data.resolve()),
        "hours": hours,
        "least_units": least_units,
        "tokenizer": _fingerprint(tokenizer),
    }

    def encode() -> dict[str, list[int]]:
        lengths = {}
        for split, most_hours in (("train", hours), ("held-out", HELD_OUT_HOURS)):
            found = recordings(data, held_out=split == "held-out")
            most = int(most_hours * 3600 * tokenizer.unit_rate)
            lengths[split] = _encode(folder, split, found, tokenizer, least_units, most)
            if not lengths[split]:
                raise TrainingError(f"{data} holds no speech for {split}; give another folder")
        return lengths

    lengths = made_once(folder / INDEX, wanted, encode, "encoded speech")
    learned, held_out = (
        _open(folder, split, lengths[split], tokenizer, data.name)
        for split in ("train", "held-out")
    )
    return learned, held_out


def _encode(
    folder: Path,
    split: str,
    found: Iterable[Recording],
    tokenizer: UnitTokenizer,
    least: int,
    most: int,
) -> list[int]:
    """Write samples and units of a split; the length of each recording in units."""
    lengths: list[int] = []
    samples_path, units_path = _paths(folder, split)
    with samples_path.open("wb") as samples_file, units_path.open("wb") as units_file:
        for recording in found:
            if recording.name.endswith(".question"):  # those are of many voices
                continue
            pcm = resample(recording.pcm, recording.sample_rate, tokenizer.sample_rate)
            units = tokenizer.encode(pcm)
            if len(units) < least:
                continue
            whole = np.zeros(len(units) * tokenizer.hop_samples, np.float32)
            whole[: len(pcm)] = np.clip(pcm, -1, 1)
            samples_file.write(np.round(whole * 32767).astype("<i2").tobytes())
            units_file.write(units.astype("<u2").tobytes())
            lengths.append(len(units))
            if sum(lengths) >= most:
                break
    return lengths


def _open(
    folder: Path, split: str, lengths: list[int], tokenizer: UnitTokenizer, source: str
) -> UnitSpeech:
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    hop, count = tokenizer.hop_samples, int(starts[-1])
    sizes = (2 * count * hop, 2 * count)
    for path, size in zip(_paths(folder, split), sizes, strict=True):
        if not path.is_file() or path.stat().st_size != size:
            raise TrainingError(
                f"{path} is missing or cut short; delete {folder / INDEX} to encode anew"
            )
    pcm, units = _paths(folder, split)
    return UnitSpeech(
        np.memmap(pcm, "<i2", mode="r"),
        np.memmap(units, "<u2", mode="r"),
        starts,
        hop,
        count / tokenizer.unit_rate / 3600,
        source,
    )


def _fingerprint(tokenizer: UnitTokenizer) -> str:
    """Changes with everything that units depend on."""
    clusters, encoder = tokenizer.clusters, tokenizer.encoder
    text = f"{encoder.name} {encoder.layer} {tokenizer.states_per_unit} {tokenizer.windows}"
    digest = hashlib.sha256(text.encode())
    for tensor in (clusters.centroids, clusters.mean, clusters.deviation):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _paths(folder: Path, split: str) -> tuple[Path, Path]:
    return folder / f"unit-speech.{split}.int16", folder / f"unit-speech.{split}.units"
