"""Voices as files: safetensors with the published names, and the sizes no tensor shows beside them.

Reading needs no torch, and opens nothing that could run code.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from backtalk.errors import ConfigError, ModelError
from backtalk.llvc.checkpoint import POSITIONS, Weights, check_weights, config_of
from backtalk.llvc.config import LlvcConfig
from backtalk.models.miniatures import miniature_path
from backtalk.models.store import ModelStore
from backtalk.models.tensors import refuse_what_is_no_safetensors

FOLDER = "llvc"
MINIATURE = "llvc"
"""The voice that comes with the package."""
"""Of the store: a file per voice."""

MOST_FRAMES = 1024
"""More in a chunk or a context than any voice could have been trained with."""


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A voice in memory.

    Attributes:
        name: for people.
        config: its sizes.
        weights: its tensors.
        trained_chunk_frames: sizes of a chunk that it learned, besides that in `config`.
    """

    name: str
    config: LlvcConfig
    weights: Weights = field(repr=False)
    trained_chunk_frames: tuple[int, ...] = ()

    def without_prenet(self) -> Voice:
        """The same voice with its pre-net left out.

        The published `llvc` was trained with a dropout that silenced its pre-net in practice, so
        that it may sound better without.
        """
        kept = {k: v for k, v in self.weights.items() if not k.startswith("convnet_pre.")}
        return replace(self, config=self.config.without_prenet(), weights=kept)

    def in_chunks(self, frames: int) -> Voice:
        """The same voice in chunks of another size: sooner if shorter.

        Raises:
            ConfigError: it did not learn that size, and would not sound as it should.
        """
        sizes = {*self.trained_chunk_frames, self.config.chunk_frames}
        if frames not in sizes:
            learned = ", ".join(map(str, sorted(sizes)))
            raise ConfigError(
                f"the voice {self.name} did not learn chunks of {frames} frames; it has {learned}"
            )
        config = replace(self.config, chunk_frames=frames)
        return replace(self, config=config, trained_chunk_frames=tuple(sorted(sizes)))


def read_voice(path: str | os.PathLike[str]) -> Voice:
    """Read a voice.

    Raises:
        ModelError: missing, pickled, damaged, or not the tensors of an LLVC; names the file.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    refuse_what_is_no_safetensors(path, "['model']")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if name != POSITIONS]  # noqa: SIM118, no dict
            weights = {name: np.asarray(file.get_tensor(name), np.float32) for name in names}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ModelError(f"{path}: is damaged or cut short ({reason}); fetch it again") from error
    try:
        config = config_of(
            {name: tensor.shape for name, tensor in weights.items()},
            _frames("chunk_frames", metadata.get("chunk_frames", "13")),
            _frames("context_frames", metadata.get("context_frames", "13")),
        )
        check_weights(weights, config)
        learned = metadata.get("trained_chunk_frames", "").split()
        trained = tuple(_frames("trained_chunk_frames", text) for text in learned)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Voice(path.stem, config, weights, trained)


def write_voice(path: str | os.PathLike[str], voice: Voice) -> None:
    """Write a voice so that `read_voice` gives it back.

    Raises:
        ModelError: the file cannot be written.
    """
    from safetensors.numpy import save_file

    sizes = {
        "chunk_frames": str(voice.config.chunk_frames),
        "context_frames": str(voice.config.context_frames),
        "trained_chunk_frames": " ".join(map(str, voice.trained_chunk_frames)),
    }
    tensors = {k: np.ascontiguousarray(v, np.float32) for k, v in voice.weights.items()}
    try:
        save_file(tensors, path, metadata=sizes)
    except Exception as error:  # its own error class does not tell a full disk from a bad path
        raise ModelError(f"{os.fspath(path)}: cannot be written ({error})") from error


def find_voice(store: ModelStore, voice: str | None) -> Path:
    """The file of a voice.

    Args:
        voice: a path, a name in the store's folder `llvc`, `llvc` for the miniature that comes with
            the package, or None for the only one in the store, and if it has none the miniature.
    Raises:
        ModelError: there is none of that name, or several and no name; says what to do.
    """
    folder = store.root / FOLDER
    there = sorted(file.stem for file in folder.glob("*.safetensors"))
    if voice is None:
        if len(there) > 1:
            raise ModelError(f"there are several voices, name one with --voice: {', '.join(there)}")
        return folder / f"{there[0]}.safetensors" if there else miniature_path(MINIATURE)
    for path in (Path(voice), folder / f"{voice}.safetensors"):
        if path.is_file():
            return path
    if voice == MINIATURE:
        return miniature_path(MINIATURE)
    raise ModelError(
        f"there is no voice {voice!r} in {folder} ({', '.join(there) or 'it holds none'}): put a "
        "voice's .safetensors file there, or give its path to --voice, or leave --voice out for "
        "the one that comes with the package"
    )


def _frames(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_FRAMES:
        raise ModelError(f"its {name} is {text!r}; it must be 1 to {MOST_FRAMES}")
    return int(text)
