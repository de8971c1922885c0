"""Sequences for a CSM to learn from: sentences of one voice, one after the other, as it will speak.

Each sentence is a segment as in a reply (`csm/prompt.py`), read in a random order, so that the
first of a sequence has no past and later ones have a growing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from backtalk.csm.prompt import Segment, TextTokens, segment_positions
from backtalk.train.spoken_codes import SpokenCodes
from backtalk.train.training_error import TrainingError

SPEAKER = 0


@dataclass(frozen=True, slots=True)
class DepthDraw:
    """How many codes of a frame count.

    Attributes:
        full_share: of the sequences, with all codes.
        mixed_share: of the sequences, with another number for every frame, as in a reply whose
            depth follows the playback buffer. The rest have one random number for all frames.
    """

    full_share: float
    mixed_share: float

    def draw(self, frames: int, codebooks: int, random: np.random.Generator) -> np.ndarray:
        """Int64 [frames], 1 .. codebooks."""
        kind = random.random()
        if kind < self.full_share:
            return np.full(frames, codebooks)
        if kind < self.full_share + self.mixed_share:
            return random.integers(1, codebooks + 1, frames)
        return np.full(frames, random.integers(1, codebooks + 1))


Sentence = tuple[Tensor, Tensor]
"""A segment: int64 [L, codebooks + 1], and bool [L], which positions are sound."""


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """Sentences to learn from.

    Attributes:
        what: they are, in a few words.
        hours: of them.
        share: of the segments in a sequence.
    """

    what: str
    hours: float
    sentences: Sequence[Sentence] = field(repr=False)
    share: float


def sentences_of(spoken: SpokenCodes, tokens: TextTokens, positions: int) -> list[Sentence]:
    """All that was said, as segments.

    Args:
        positions: of a sequence.
    Raises:
        TrainingError: a sentence is longer than that; better known before the training.
    """
    found = []
    for number, text in enumerate(spoken.texts):
        codes = torch.from_numpy(spoken.of(number).astype(np.int64))
        read = segment_positions(tokens, Segment(SPEAKER, text, codes), len(codes))
        if len(read) > positions:
            raise TrainingError(
                f"{text!r} has {len(read)} positions, more than the {positions} of a sequence; "
                "give a larger value for positions"
            )
        found.append((read.frames, read.mask[:, 0]))
    return found


def draw_sequences(
    mixture: Sequence[Share],
    count: int,
    positions: int,
    depth: DepthDraw,
    random: np.random.Generator,
) -> dict[str, Tensor]:
    """Random sequences of sentences, the last one cut off where the sequence is full.

    Args:
        mixture: shares add up to 1.
        positions: of a sequence.
    Returns:
        `frames` and `depths` as `CsmInTraining` takes them.
    """
    shares = [part.share for part in mixture]
    sequences = []
    for _ in range(count):
        pieces: list[Sentence] = []
        length = 0
        while length < positions:
            sentences = mixture[random.choice(len(mixture), p=shares)].sentences
            piece = sentences[int(random.integers(len(sentences)))]
            pieces.append(piece)
            length += len(piece[0])
        frames, is_sound = (torch.cat(parts)[:positions] for parts in zip(*pieces, strict=True))
        depths = torch.from_numpy(depth.draw(len(frames), frames.shape[1] - 1, random))
        sequences.append((frames, depths * is_sound))
    return stacked(sequences, positions)


def stacked(sequences: list[tuple[Tensor, Tensor]], positions: int) -> dict[str, Tensor]:
    """Sequences of (frames, depths) side by side, each filled up to `positions`."""
    width = sequences[0][0].shape[1]
    frames = torch.zeros(len(sequences), positions, width, dtype=torch.int64)
    depths = torch.zeros(len(sequences), positions, dtype=torch.int64)
    for row, (some_frames, some_depths) in enumerate(sequences):
        frames[row, : len(some_frames)] = some_frames
        depths[row, : len(some_depths)] = some_depths
    return {"frames": frames, "depths": depths}
