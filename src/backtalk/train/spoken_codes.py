"""The answers of a MiniTalk corpus as codes of a codec: encoded once, a file per shard.

Encoding is slow and may be stopped at any moment: what is there is taken up again. Every file names
the codec and the corpus that it came from, and files of another one are refused, because codes of
two codecs have nothing to do with each other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.models.disk import is_disk_full
from backtalk.train.minitalk.corpus import Corpus
from backtalk.train.minitalk.plan import ShardPlan
from backtalk.train.minitalk.shard_file import read_shard
from backtalk.train.minitalk.splits import Split
from backtalk.train.minitalk.spoken import Word
from backtalk.train.training_error import TrainingError

if TYPE_CHECKING:
    from backtalk.codecs.mimi.mimi_model import MimiModel

_BATCH = 16
_KEY = "spoken_codes"


@dataclass(frozen=True, slots=True)
class SpokenCodes:
    """Sentences of one voice.

    Attributes:
        texts: what was said.
        codes: int16 [frames, codebooks], of all sentences one after the other.
        starts: int64 [sentences + 1], where each begins, and the end of the last.
        words: of each sentence the frames where its words begin, and its length; as many as the
            text has words between spaces, or none but 0 and the length if their times are unknown.
        source: name of the corpus.
    """

    texts: tuple[str, ...]
    codes: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    words: tuple[tuple[int, ...], ...] = field(repr=False)
    source: str
    frame_rate: float

    @property
    def hours(self) -> float:
        """All of it."""
        return len(self.codes) / self.frame_rate / 3600

    def of(self, sentence: int) -> np.ndarray:
        """Int16 [codebooks, frames] of one."""
        return self.codes[self.starts[sentence] : self.starts[sentence + 1]].T


class CodeStore:
    """Files `FOLDER/train-0000.safetensors` and so on.

    Args:
        corpus: complete or not; shards that are missing are left out.
        folder: of the files; made.
        codec: gives the codes.
        codes_sha256: of the codec; see `codecs.mimi.codes_identity`.
        codebooks: codes per frame.
    """

    def __init__(
        self, corpus: Corpus, folder: Path, codec: MimiModel, codes_sha256: str, codebooks: int
    ) -> None:
        self._corpus, self._folder = corpus, folder
        self._codec, self._codebooks = codec, codebooks
        self._made_from = {
            "codec": codes_sha256,
            "codebooks": codebooks,
            "corpus": {**corpus.settings.as_dict(), "texts": corpus.made_with.get("texts")},
        }

    def read(self, split: Split, hours: float) -> SpokenCodes:
        """The codes of a split, whole shards until there are enough, encoded where needed.

        Raises:
            TrainingError: the split has no shard yet, a file is damaged or of another codec or
                corpus, or cannot be written.
            CorpusError: a shard is damaged.
        """
        texts: list[str] = []
        words: list[tuple[int, ...]] = []
        lengths: list[int] = []
        codes: list[np.ndarray] = []
        wanted_frames = hours * 3600 * self._codec.config.frame_rate
        for plan in self._corpus.made(split):
            path = self._folder / f"{plan.name}.safetensors"
            if not path.is_file():
                self._encode(plan, path)
            shard_texts, shard_words, shard_lengths, shard_codes = self._open(path)
            texts += shard_texts
            words += shard_words
            lengths += shard_lengths
            codes.append(shard_codes)
            if sum(lengths) >= wanted_frames:
                break
        if not texts:
            raise TrainingError(
                f"{self._corpus.folder} has no shard of {split} yet; make the corpus first"
            )
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return SpokenCodes(
            tuple(texts),
            np.concatenate(codes),
            starts,
            tuple(words),
            self._corpus.folder.name,
            self._codec.config.frame_rate,
        )

    def _encode(self, plan: ShardPlan, path: Path) -> None:
        from safetensors.numpy import save_file

        texts, times, sound = [], [], []
        for item in read_shard(self._corpus.path_of(plan)):
            for turn in item.turns:
                pcm, sample_rate = turn.answer.pcm()
                if sample_rate != self._codec.config.sample_rate:
                    raise TrainingError(f"{plan.name} has answers at {sample_rate} Hz")
                texts.append(turn.answer.text)
                times.append(turn.answer.words)
                sound.append(pcm)
        codes = encode_all(self._codec, sound, self._codebooks)
        frame_rate = self._codec.config.frame_rate
        words = [
            word_frames(text, spoken, one.shape[1], frame_rate)
            for text, spoken, one in zip(texts, times, codes, strict=True)
        ]
        table = {"made_from": self._made_from, "texts": texts, "words": words}
        metadata = {_KEY: json.dumps(table)}
        tensors: dict[str, np.ndarray] = {
            "codes": np.concatenate(codes, axis=1).T.astype(np.int16).copy(),
            "lengths": np.array([one.shape[1] for one in codes], np.int64),
        }
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, partial, metadata)
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            reason = "disk full" if is_disk_full(error) else error.strerror or str(error)
            raise TrainingError(
                f"{path} cannot be written ({reason}); make room, or give another --out"
            ) from error

    def _open(self, path: Path) -> tuple[list[str], list[tuple[int, ...]], list[int], np.ndarray]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                table: dict[str, Any] = json.loads(file.metadata()[_KEY])
                lengths = [int(length) for length in file.get_tensor("lengths")]
                codes = file.get_tensor("codes")
            texts, made_from = table["texts"], table["made_from"]
            words = [tuple(each) for each in table["words"]]
            if [each[-1] for each in words] != lengths or sum(lengths) != len(codes):
                raise ValueError(f"{len(texts)} texts, {len(lengths)} lengths")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{path} is damaged ({error}); delete it and run the same command again"
            ) from error
        if made_from != self._made_from:
            changed = [
                name for name in self._made_from if made_from.get(name) != self._made_from[name]
            ]
            raise TrainingError(
                f"{path} was made from another {' and '.join(changed)}; give another --out, or "
                f"delete {path.parent} to encode anew"
            )
        return texts, words, lengths, codes


def word_frames(
    text: str, times: Sequence[Word], frames: int, frame_rate: float
) -> tuple[int, ...]:
    """Where words begin, half way between the end of the one before and their own; see above."""
    if len(times) != len(text.split()):
        return (0, frames)
    cuts = [(a.end_s + b.start_s) / 2 * frame_rate for a, b in pairwise(times)]
    return (0, *(min(round(cut), frames) for cut in cuts), frames)


def encode_all(codec: MimiModel, sound: Sequence[np.ndarray], codebooks: int) -> list[np.ndarray]:
    """The codes of recordings, as streams of them would give, several at a time.

    Args:
        sound: float32 [T] each, at the codec's rate; the last frame is filled up with silence.
    Returns:
        int64 [codebooks, frames] each.
    """
    import torch

    frame = codec.config.frame_size
    found: list[np.ndarray] = [np.zeros(0)] * len(sound)
    by_length = sorted(range(len(sound)), key=lambda at: sound[at].size)
    for first in range(0, len(sound), _BATCH):
        batch = by_length[first : first + _BATCH]
        frames = [-(-sound[at].size // frame) for at in batch]
        pcm = np.zeros((len(batch), max(frames) * frame), np.float32)
        for row, at in zip(pcm, batch, strict=True):
            row[: sound[at].size] = sound[at]
        with torch.inference_mode():
            x = torch.from_numpy(pcm).to(codec.quantizer.semantic.centroids.device)
            codes = codec.quantizer.encode(codec.encoder(x), codebooks).cpu().numpy()
        for row, at, length in zip(codes, batch, frames, strict=True):
            found[at] = row[:, :length]
    return found
