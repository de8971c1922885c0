"""What the backbone reads: positions of text, positions of sound, and the frame that ends a sound.

A position is a column of numbers: one code per codebook and one text id, with a mask that says
which of them count. A text position has only its id, a sound position only its codes. A segment is
the text `[speaker]words` between begin and end of text, and, once it was spoken, its frames and one
frame of zeros that says it is over.

Source: https://github.com/SesameAILabs/csm (generator.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from backtalk.errors import ConfigError


class TextTokens(Protocol):
    """Turns text into ids with begin and end of text around them."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text, the two marks included."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """Something that was said.

    Attributes:
        speaker: a small number; the same voice keeps the same number.
        text: its words.
        codes: int64 [K, T] of Mimi, without the frame that ends it.
    """

    speaker: int
    text: str
    codes: Tensor = field(repr=False)


@dataclass(frozen=True, slots=True)
class Positions:
    """A stretch of what the backbone reads.

    Attributes:
        frames: int64 [L, codebooks + 1], the text id last.
        mask: bool [L, codebooks + 1], what of it counts.
    """

    frames: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return self.frames.shape[0]


def text_positions(tokens: TextTokens, speaker: int, text: str, codebooks: int) -> Positions:
    """The positions of a segment's text.

    Raises:
        ConfigError: the speaker's number is below 0.
    """
    if speaker < 0:
        raise ConfigError(f"speaker {speaker} is not a number of 0 or more")
    ids = torch.tensor(tokens.encode(f"[{speaker}]{text}"))
    frames = torch.zeros(len(ids), codebooks + 1, dtype=torch.int64)
    mask = torch.zeros(len(ids), codebooks + 1, dtype=torch.bool)
    frames[:, -1], mask[:, -1] = ids, True
    return Positions(frames, mask)


def sound_positions(codes: Tensor, codebooks: int, *, ends: bool = True) -> Positions:
    """The positions of a segment's sound.

    Args:
        codes: int64 [K, T]; codebooks from K on do not count.
        codebooks: of the model.
        ends: whether the frame of zeros follows.
    """
    depth, length = codes.shape
    frames = torch.zeros(length + ends, codebooks + 1, dtype=torch.int64)
    mask = torch.zeros(length + ends, codebooks + 1, dtype=torch.bool)
    frames[:length, :depth] = codes.t()
    mask[:, :depth] = True
    return Positions(frames, mask)


def joined(pieces: Sequence[Positions]) -> Positions:
    """Stretches one after the other."""
    return Positions(torch.cat([p.frames for p in pieces]), torch.cat([p.mask for p in pieces]))


def segment_positions(tokens: TextTokens, segment: Segment, codebooks: int) -> Positions:
    """A segment of the past: its text, its sound and the end of it."""
    text = text_positions(tokens, segment.speaker, segment.text, codebooks)
    return joined([text, sound_positions(segment.codes, codebooks)])
