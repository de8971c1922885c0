"""The file format: a tar per shard in WebDataset's layout, FLAC and JSON inside.

    test-0000.tar
        test-0000-0000.1.question.flac     16 kHz, mono, 16 bit
        test-0000-0000.1.answer.flac       24 kHz, mono, 16 bit
        test-0000-0000.2.question.flac     a second turn, if there is one
        test-0000-0000.2.answer.flac
        test-0000-0000.json                texts, word times, voice, hashes; see `item_json`
        test-0000-0001.1.question.flac     the next dialogue

Any tar reader opens it, and the `webdataset` package reads it as it is. Nothing in it depends on
when or by whom it was made. A shard appears whole under its name or not at all.

Layout: https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.train.minitalk.corpus_error import CorpusError
from backtalk.train.minitalk.spoken import Spoken, Word
from backtalk.train.minitalk.turn import Turn

PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One question or answer as it lies in a shard.

    Attributes:
        text: the words spoken.
        duration_s: length of the recording.
        words: their times; empty where the voice does not show them.
        flac: the recording; empty if it was not asked for.
    """

    text: str
    duration_s: float
    words: tuple[Word, ...]
    flac: bytes = field(repr=False, default=b"")

    def pcm(self) -> tuple[np.ndarray, int]:
        """The recording: float32 [T] and its rate, Hz."""
        import soundfile

        pcm, sample_rate = soundfile.read(io.BytesIO(self.flac), dtype="float32")
        return pcm, sample_rate


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A turn of the grammar with both recordings.

    Attributes:
        is_held_out: a combination of this turn is in no training dialogue.
    """

    turn: Turn
    question: Utterance
    answer: Utterance
    is_held_out: bool


@dataclass(frozen=True, slots=True)
class Item:
    """One dialogue of a shard.

    Attributes:
        name: unique in the corpus, and the stem of its members' names.
        voice: the user's.
        manner: how the user speaks, see `voices.Manner`.
    """

    name: str
    split: str
    voice: str
    manner: dict[str, Any]
    turns: tuple[SpokenTurn, ...]


class ShardWriter:
    """Writes a shard; nothing has its name until all of it is on the disk.

    Use as a context manager: leaving it by an exception leaves no file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Named for this process: one that was left behind by a killed run may still be writing.
        self._partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
        self._file = self._partial.open("wb")
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._tar.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                os.replace(self._partial, self._path)
        finally:
            # What could not be written before will not be written now either.
            with contextlib.suppress(OSError):
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def add(
        self,
        name: str,
        split: str,
        voice: str,
        manner: dict[str, Any],
        turns: list[tuple[Turn, Spoken, Spoken, bool]],
    ) -> None:
        """Add a dialogue: turns with their question, answer and whether they are held out."""
        table: dict[str, Any] = {
            "name": name,
            "split": split,
            "voice": voice,
            "manner": manner,
            "turns": [],
        }
        for number, (turn, question, answer, is_held_out) in enumerate(turns, 1):
            entry = {
                "task": turn.task,
                "key": turn.key,
                "combinations": list(turn.combinations),
                "held_out": is_held_out,
            }
            for side, text, spoken in (
                ("question", turn.question, question),
                ("answer", turn.answer, answer),
            ):
                flac = _flac(spoken)
                file = f"{name}.{number}.{side}.flac"
                self._member(file, flac)
                entry[side] = {
                    "text": text,
                    "file": file,
                    "duration_s": round(spoken.duration_s, 4),
                    "sha256": hashlib.sha256(flac).hexdigest(),
                    "words": [[word.text, word.start_s, word.end_s] for word in spoken.words],
                }
            table["turns"].append(entry)
        self._member(f"{name}.json", json.dumps(table, sort_keys=True).encode())

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        self._tar.addfile(info, io.BytesIO(data))


def read_shard(path: Path, *, with_audio: bool = True) -> Iterator[Item]:
    """The dialogues of a shard in order. Without audio, only the texts are read.

    Raises:
        CorpusError: the shard cannot be read, is cut short, or a recording is not the one that
            was written; says what to do.
    """
    try:
        with tarfile.open(path, mode="r:") as tar:
            recordings: dict[str, bytes] = {}
            for member in tar:
                if member.name.endswith(".json"):
                    yield _item(json.loads(_read(tar, member)), recordings, with_audio)
                    recordings = {}
                elif with_audio:
                    recordings[member.name] = _read(tar, member)
            if recordings:
                raise CorpusError(_damaged(path, "its last dialogue is not complete"))
    except (tarfile.TarError, EOFError) as error:
        raise CorpusError(_damaged(path, str(error))) from error
    except OSError as error:
        raise CorpusError(f"shard {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(_damaged(path, f"{type(error).__name__} {error}")) from error


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    data = b"" if file is None else file.read()
    if len(data) != member.size:
        raise EOFError(f"{member.name} is cut short")
    return data


def _item(table: dict[str, Any], recordings: dict[str, bytes], with_audio: bool) -> Item:
    turns = []
    for entry in table["turns"]:
        question, answer = (
            _utterance(entry[side], recordings, with_audio) for side in ("question", "answer")
        )
        turn = Turn(
            entry["task"],
            question.text,
            answer.text,
            entry["key"],
            tuple(entry["combinations"]),
        )
        turns.append(SpokenTurn(turn, question, answer, entry["held_out"]))
    return Item(table["name"], table["split"], table["voice"], table["manner"], tuple(turns))


def _utterance(entry: dict[str, Any], recordings: dict[str, bytes], with_audio: bool) -> Utterance:
    flac = recordings.get(entry["file"], b"")
    if with_audio and hashlib.sha256(flac).hexdigest() != entry["sha256"]:
        raise EOFError(f"{entry['file']} is not the recording that was written")
    words = tuple(Word(text, start_s, end_s) for text, start_s, end_s in entry["words"])
    return Utterance(entry["text"], entry["duration_s"], words, flac)


def _flac(spoken: Spoken) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, spoken.pcm, spoken.sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _damaged(path: Path, reason: str) -> str:
    return (
        f"shard {path} is damaged ({reason}); delete it and run the command that made the corpus "
        "again: it makes what is missing"
    )
