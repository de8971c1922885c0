"""Sequences for a CSM to learn from: sentences of one voice, one after the other, as it will speak.

Each sentence is a segment as in a reply (`csm/prompt.py`), read in a random order, so that the
first of a sequence has no past and later ones have a growing one.

A small corpus is soon known by heart, and then its words are no longer read. So part of the
segments are patchwork: words of several sentences, cut out and put together, of which nobody knows
the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backtalk.csm.prompt import Segment, TextTokens, segment_positions
from backtalk.train.spoken_codes import SpokenCodes
from backtalk.train.training_error import TrainingError

SPEAKER = 0
_MOST_PATCHES, _MOST_PATCH_WORDS = 4, 3
_MARKS = 8
"""Positions that a segment has besides its characters and frames, or more."""


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


def draw_sequences(
    spoken: SpokenCodes,
    tokens: TextTokens,
    count: int,
    positions: int,
    depth: DepthDraw,
    patchwork_share: float,
    random: np.random.Generator,
) -> dict[str, Tensor]:
    """Random sequences of sentences, the last one cut off where the sequence is full.

    Args:
        positions: of a sequence.
        patchwork_share: of the segments.
    Returns:
        `frames` and `depths` as `CsmInTraining` takes them.
    Raises:
        TrainingError: a sentence is longer than a sequence.
    """
    sequences = []
    for _ in range(count):
        pieces: list[tuple[Tensor, Tensor]] = []
        length = 0
        while length < positions:
            if random.random() < patchwork_share:
                piece = patchwork(spoken, tokens, positions, random)
            else:
                piece = _any_sentence(spoken, tokens, random)
            if len(piece[0]) > positions:
                raise TrainingError(
                    f"a sentence has {len(piece[0])} positions, more than the {positions} of a "
                    "sequence; give a larger value for positions"
                )
            pieces.append(piece)
            length += len(piece[0])
        frames, is_sound = (torch.cat(parts)[:positions] for parts in zip(*pieces, strict=True))
        depths = torch.from_numpy(depth.draw(len(frames), frames.shape[1] - 1, random))
        sequences.append((frames, depths * is_sound))
    return stacked(sequences, positions)


def sentence(spoken: SpokenCodes, tokens: TextTokens, number: int) -> tuple[Tensor, Tensor]:
    """One segment: int64 [L, codebooks + 1], and bool [L], which positions are sound."""
    return _segment(tokens, spoken.texts[number], spoken.of(number))


def patchwork(
    spoken: SpokenCodes, tokens: TextTokens, positions: int, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A segment as of `sentence`, no longer than a sequence, of a few words each from several."""
    texts: list[str] = []
    codes: list[np.ndarray] = []
    size = 0
    for _ in range(random.integers(1, _MOST_PATCHES + 1)):
        number = int(random.integers(len(spoken.texts)))
        begins = spoken.words[number]
        first = int(random.integers(len(begins) - 1))
        end = min(first + int(random.integers(1, _MOST_PATCH_WORDS + 1)), len(begins) - 1)
        words = spoken.texts[number].split() if len(begins) > 2 else [spoken.texts[number]]
        text = " ".join(words[first:end]).rstrip(".,!?")
        size += len(text) + begins[end] - begins[first] + _MARKS
        if size > positions:
            break
        texts.append(text)
        codes.append(spoken.of(number)[:, begins[first] : begins[end]])
    if not texts:
        return _any_sentence(spoken, tokens, random)
    return _segment(tokens, f"{' '.join(texts)}.", np.concatenate(codes, axis=1))


def _any_sentence(
    spoken: SpokenCodes, tokens: TextTokens, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    return sentence(spoken, tokens, int(random.integers(len(spoken.texts))))


def _segment(tokens: TextTokens, text: str, codes: np.ndarray) -> tuple[Tensor, Tensor]:
    segment = Segment(SPEAKER, text, torch.from_numpy(codes.astype(np.int64)))
    found = segment_positions(tokens, segment, codes.shape[0])
    return found.frames, found.mask[:, 0]


def stacked(sequences: list[tuple[Tensor, Tensor]], positions: int) -> dict[str, Tensor]:
    """Sequences of (frames, depths) side by side, each filled up to `positions`."""
    width = sequences[0][0].shape[1]
    frames = torch.zeros(len(sequences), positions, width, dtype=torch.int64)
    depths = torch.zeros(len(sequences), positions, dtype=torch.int64)
    for row, (some_frames, some_depths) in enumerate(sequences):
        frames[row, : len(some_frames)] = some_frames
        depths[row, : len(some_depths)] = some_depths
    return {"frames": frames, "depths": depths}
