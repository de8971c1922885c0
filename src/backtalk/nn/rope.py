"""Rotary position embedding: queries and keys turned by an angle that grows with their position.

Pairs of features are turned. Which two make a pair is a convention of the checkpoint:
`interleaved` pairs (2j, 2j+1), as in Meta's and Kyutai's code, `half_split` pairs (j, j + Dh/2), as
in `transformers`. The two differ only by an order of the projections' rows, so everything here runs
interleaved and `to_interleaved` reorders the rows of a half-split checkpoint once.

Sources: RoFormer (arXiv 2104.09864); the frequency scaling is that of Llama 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LlamaScaling:
    """Llama 3.1's stretch of the slow frequencies to a context longer than was trained on.

    Attributes:
        factor: how much slower the slowest turn.
        low_factor, high_factor: turns per `original_positions` below which a frequency is slowed
            fully, and above which it is left alone.
        original_positions: the context of the first training.
    """

    factor: float = 32.0
    low_factor: float = 1.0
    high_factor: float = 4.0
    original_positions: int = 8192


def rope_frequencies(
    head_dim: int, theta: float = 10_000.0, scaling: LlamaScaling | None = None
) -> Tensor:
    """Angle per position of each pair: float32 [head_dim // 2], radians."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    frequencies = 1.0 / theta**exponents
    if scaling is None:
        return frequencies
    turns = scaling.original_positions * frequencies / (2 * math.pi)
    span = scaling.high_factor - scaling.low_factor
    kept = ((turns - scaling.low_factor) / span).clamp(0.0, 1.0)
    return frequencies * kept + frequencies / scaling.factor * (1.0 - kept)


def turns_at(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Turns of int64 [B, T] positions: float32 [B, T, 1, Dh/2, 2], cosine and sine.

    The angles are computed in float64: a session of a day has millions of positions.
    """
    angles = positions[..., None, None].double() * frequencies
    return torch.stack((angles.cos(), angles.sin()), dim=-1).float()


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn interleaved pairs.

    Computed in float32, as a complex product: one operation where sines and cosines take six.

    Args:
        x: float [B, T, H, Dh].
        turns: float32 [B or 1, T, 1, Dh/2, 2], from `turns_at`.
    Returns:
        [B, T, H, Dh] in the type of `x`.
    """
    pairs = torch.view_as_complex(torch.unflatten(x.float(), -1, (-1, 2)))
    turned = pairs * torch.view_as_complex(turns)
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


def to_interleaved(weight: Tensor, heads: int) -> Tensor:
    """Reorder the rows of a query or key projection from half-split to interleaved pairs.

    Args:
        weight: [heads * Dh, ...].
    """
    split = torch.unflatten(weight, 0, (heads, 2, -1))
    return split.transpose(1, 2).flatten(0, 2).contiguous()


def to_half_split(weight: Tensor, heads: int) -> Tensor:
    """The inverse of `to_interleaved`, bit for bit."""
    split = torch.unflatten(weight, 0, (heads, -1, 2))
    return split.transpose(1, 2).flatten(0, 2).contiguous()
