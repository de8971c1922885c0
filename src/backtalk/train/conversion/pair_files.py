"""Pairs on the disk: stereo WAV files, what is heard on the left, what should be said on the right.

    pairs.json                 what was asked for; see `PairSettings`
    train-0000.wav             pairs behind each other, 16 kHz, 16 bit: listen to it
    train-0000.json            of each pair: length, voice, text; written last

A shard without its JSON does not count, so a run that was killed leaves nothing half made.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.llvc.config import SAMPLE_RATE
from backtalk.train.conversion.teacher import Pair, ShardPlan, Split
from backtalk.train.minitalk.corpus import write_whole
from backtalk.train.training_error import TrainingError

DESCRIPTION = "pairs.json"
FORMAT = 1
_HEADER_BYTES = 44


@dataclass(frozen=True, slots=True)
class PairSettings:
    """What makes one folder of pairs differ from another.

    Attributes:
        teacher: its `samples`.
        target: its `target`.
        hours: to learn from.
    """

    teacher: str
    target: str
    hours: float
    seed: int
    format: int = FORMAT

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a pair lies in its shard.

    Attributes:
        begin, end: samples.
    """

    begin: int
    end: int
    voice: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One file of pairs.

    Attributes:
        pcm: int16 [N, 2], mapped: heard, said.
    """

    pcm: np.ndarray = field(repr=False)
    entries: tuple[Entry, ...] = field(repr=False)

    def pair(self, entry: Entry) -> Pair:
        """One of its pairs."""
        both = self.pcm[entry.begin : entry.end].astype(np.float32) / 32768.0
        return Pair(both[:, 0].copy(), both[:, 1].copy(), entry.voice, entry.text)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """All of a split."""

    settings: PairSettings
    shards: tuple[Shard, ...] = field(repr=False)

    @property
    def hours(self) -> float:
        """Of each of the two."""
        samples = sum(entry.end - entry.begin for shard in self.shards for entry in shard.entries)
        return samples / SAMPLE_RATE / 3600

    def some(self, hours: float, voice: str) -> Pairs:
        """The first so many hours; only those heard from one voice, unless it is empty.

        Raises:
            TrainingError: nobody of that name is heard.
        """
        voices = sorted({entry.voice for shard in self.shards for entry in shard.entries})
        if voice and voice not in voices:
            raise TrainingError(f"no pair is heard from {voice!r}, only from {', '.join(voices)}")
        left = round(hours * 3600 * SAMPLE_RATE)
        shards = []
        for shard in self.shards:
            entries = []
            for entry in shard.entries:
                if left > 0 and voice in ("", entry.voice):
                    entries.append(entry)
                    left -= entry.end - entry.begin
            shards.append(replace(shard, entries=tuple(entries)))
        return replace(self, shards=tuple(shards))


def write_shard(folder: Path, plan: ShardPlan, pairs: Iterable[Pair]) -> float:
    """Write pairs until there are `plan.seconds` of them, or no more; the seconds written.

    Raises:
        OSError: the disk is full.
    """
    wanted = plan.seconds * SAMPLE_RATE
    at, table = 0, []
    with wave.open(str(folder / f"{plan.name}.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for pair in pairs:
            both = np.stack([pair.heard, pair.said], axis=1)
            file.writeframes(np.round(np.clip(both, -1, 1) * 32767).astype("<i2").tobytes())
            table.append({"samples": len(both), "voice": pair.voice, "text": pair.text})
            at += len(both)
            if at >= wanted:
                break
    write_whole(folder / f"{plan.name}.json", json.dumps(table) + "\n")
    return at / SAMPLE_RATE


def has_shard(folder: Path, plan: ShardPlan) -> bool:
    """Whether it is there, whole."""
    return (folder / f"{plan.name}.json").is_file()


def read_settings(folder: Path) -> PairSettings:
    """What the folder holds.

    Raises:
        TrainingError: it holds no pairs.
    """
    try:
        table = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        settings = PairSettings(**table)
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{folder} holds no pairs ({' '.join(str(error).split())[:80]}); make some with: "
            f"backtalk train llvc-data --out {folder}"
        ) from error
    if settings.format != FORMAT:
        raise TrainingError(f"{folder} is of format {settings.format}, not {FORMAT}; make it anew")
    return settings


def open_pairs(folder: Path, split: Split) -> Pairs:
    """All pairs of a split.

    Raises:
        TrainingError: there are none, or a file is damaged; says what to do.
    """
    settings = read_settings(folder)
    shards = tuple(_open(path) for path in sorted(folder.glob(f"{split}-*.json")))
    if not any(shard.entries for shard in shards):
        raise TrainingError(f"{folder} has no {split} pairs yet; run llvc-data again: it goes on")
    return Pairs(settings, shards)


def _open(path: Path) -> Shard:
    sound = path.with_suffix(".wav")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        ends = np.cumsum([entry["samples"] for entry in table])
        entries = tuple(
            Entry(int(end) - entry["samples"], int(end), entry["voice"], entry["text"])
            for end, entry in zip(ends, table, strict=True)
        )
        size = entries[-1].end if entries else 0
        if sound.stat().st_size != _HEADER_BYTES + 4 * size:
            raise ValueError(f"{sound.name} is cut short")
        pcm = np.memmap(sound, "<i2", mode="r", offset=_HEADER_BYTES, shape=(size, 2))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} is damaged ({error}); delete it and run llvc-data again: it makes what is "
            "missing"
        ) from error
    return Shard(pcm, entries)
