"""What a voice said as codes of a codec: encoded once, a file per shard.

Encoding is slow and may be stopped at any moment: what is there is taken up again. Every file names
the codec and what it was made from, and files of others are refused, because codes of two codecs
have nothing to do with each other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.models.disk import is_disk_full
from backtalk.train.training_error import TrainingError

if TYPE_CHECKING:
    from backtalk.codecs.mimi.mimi_model import MimiModel

_BATCH = 16
_KEY = "spoken_codes"


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence and its sound.

    Attributes:
        pcm: float32 [T].
    """

    text: str
    pcm: np.ndarray = field(repr=False)
    sample_rate: int


@dataclass(frozen=True, slots=True)
class SpokenCodes:
    """Sentences of one voice.

    Attributes:
        texts: what was said.
        codes: int16 [frames, codebooks], of all sentences one after the other.
        lengths: int64 [sentences], in frames.
        starts: int64 [sentences], the first frame of each.
    """

    texts: tuple[str, ...]
    codes: np.ndarray = field(repr=False)
    lengths: np.ndarray = field(repr=False)
    starts: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", np.cumsum(self.lengths) - self.lengths)

    def of(self, sentence: int) -> np.ndarray:
        """Int16 [codebooks, frames] of one."""
        start = self.starts[sentence]
        return self.codes[start : start + self.lengths[sentence]].T


def joined(parts: Sequence[SpokenCodes]) -> SpokenCodes:
    """The sentences of all of them."""
    return SpokenCodes(
        tuple(text for part in parts for text in part.texts),
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.lengths for part in parts]),
    )


class CodeStore:
    """Files `FOLDER/NAME.safetensors`.

    Args:
        folder: of the files; made.
        codec: gives the codes.
        codes_sha256: of the codec; see `codecs.mimi.codes_identity`.
        codebooks: codes per frame.
    """

    def __init__(self, folder: Path, codec: MimiModel, codes_sha256: str, codebooks: int) -> None:
        self.folder = folder
        self._codec, self._codebooks = codec, codebooks
        self._codec_identity = {"codec": codes_sha256, "codebooks": codebooks}

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self._codec.config.frame_rate

    def hours(self, spoken: SpokenCodes) -> float:
        """All of it."""
        return len(spoken.codes) / self.frame_rate / 3600

    def shard(
        self, name: str, made_from: Mapping[str, Any], say: Callable[[], Iterable[Said]]
    ) -> SpokenCodes:
        """The codes of some sentences, encoded the first time.

        Args:
            made_from: everything that decides what is said; for JSON.
            say: says it.
        Raises:
            TrainingError: the file is damaged, of another codec or made from something else, or
                cannot be written.
        """
        path = self.folder / f"{name}.safetensors"
        identity = {**self._codec_identity, **made_from}
        if not path.is_file():
            self._encode(path, identity, list(say()))
        return _open(path, identity)

    def _encode(self, path: Path, identity: Mapping[str, Any], said: list[Said]) -> None:
        from safetensors.numpy import save_file

        wanted_rate = self._codec.config.sample_rate
        if other := {one.sample_rate for one in said} - {wanted_rate}:
            raise TrainingError(f"{path.stem} has speech at {other.pop()} Hz, not {wanted_rate}")
        codes = encode_all(self._codec, [one.pcm for one in said], self._codebooks)
        metadata = {_KEY: json.dumps({"made_from": identity, "texts": [one.text for one in said]})}
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


def _open(path: Path, identity: Mapping[str, Any]) -> SpokenCodes:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            table: dict[str, Any] = json.loads(file.metadata()[_KEY])
            lengths, codes = file.get_tensor("lengths"), file.get_tensor("codes")
        texts, made_from = table["texts"], table["made_from"]
        if len(lengths) != len(texts) or lengths.sum() != len(codes):
            raise ValueError(f"{len(texts)} texts, {len(lengths)} lengths")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} is damaged ({error}); delete it and run the same command again"
        ) from error
    if made_from != identity:
        changed = [name for name in identity if made_from.get(name) != identity[name]]
        raise TrainingError(
            f"{path} was made from another {' and '.join(changed)}; give another --out, or "
            f"delete {path.parent} to encode anew"
        )
    return SpokenCodes(tuple(texts), codes, lengths)


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
