"""How long a unit lasts, where repetitions were dropped: FastSpeech 2's predictor.

Source: arXiv 2006.04558, as fairseq (MIT) uses it in its unit vocoder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.nn.norm import LayerNorm

DROPOUT = 0.5
LONGEST = 100
"""Units that one run is at most made of: a second or two, more is a mistake."""

_KERNEL = 3


class DurationPredictor(nn.Module):
    """Two convolutions over neighbouring runs.

    Args:
        features: of a unit.
        width: inside.
    """

    reach = 2
    """Runs on either side that a duration depends on."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(features, width, _KERNEL, padding=1)
        self.first_norm = LayerNorm(width)
        self.second = nn.Conv1d(width, width, _KERNEL, padding=1)
        self.second_norm = LayerNorm(width)
        self.last = nn.Linear(width, 1)

    def forward(self, x: Tensor, is_there: Tensor) -> Tensor:
        """Logarithms of lengths plus one.

        Args:
            x: float [B, features, runs].
            is_there: float [B, 1, runs], 1 or 0: whether a run is part of the recording.
        Returns:
            float [B, runs].
        """
        y = self.first(x * is_there)
        y = self.first_norm(F.relu(y).transpose(1, 2))
        y = F.dropout(y, DROPOUT, self.training).transpose(1, 2)
        y = self.second(y * is_there)
        y = self.second_norm(F.relu(y).transpose(1, 2))
        found: Tensor = self.last(F.dropout(y, DROPOUT, self.training))[..., 0]
        return found


def lengths_of(log_lengths: Tensor) -> Tensor:
    """What the predictor means: int64 of the same shape, from 1 to `LONGEST`."""
    return torch.round(torch.expm1(log_lengths)).clamp(1, LONGEST).long()


def log_lengths_of(lengths: Tensor) -> Tensor:
    """What the predictor should have said."""
    return torch.log1p(lengths.float())
