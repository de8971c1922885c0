"""The unit vocoder: embedding, generator, durations; whole, by slots, and what rows remember."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig
from backtalk.codecs.unit_vocoder.durations import DurationPredictor, lengths_of
from backtalk.codecs.unit_vocoder.generator import Generator
from backtalk.nn.history import History

NOTHING = -1
"""In place of a unit: the recording has not begun here, or is over."""


class UnitVocoderModel(nn.Module):
    """Units to sound.

    A row's state is its last `2 * reach` units: `step` gives the sound of the units `reach` before
    those that it takes. So a stream begins with `reach` units' worth of nothing and ends with
    `reach` times `NOTHING`; what is between is the sound of the whole recording.
    """

    def __init__(self, config: UnitVocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.units, config.embedding)
        self.generator = Generator(config)
        self.durations = DurationPredictor(config.embedding, config.duration_width)

    def forward(self, units: Tensor) -> Tensor:
        """Whole recordings or cut-out pieces: int64 [B, T] to float [B, T * hop]."""
        pcm: Tensor = self.generator(self.embedding(units).transpose(1, 2))
        return pcm

    def alloc(self, slots: int) -> History:
        """State of `slots` streams that have not begun."""
        device = self.embedding.weight.device
        fresh = torch.full((2 * self.config.reach, 1), NOTHING, device=device)
        return History.of(slots, fresh)

    def reset(self, state: History, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool [slots]) is True."""
        state.reset(mask)

    def step(self, state: History, units: Tensor, active: Tensor) -> Tensor:
        """The next units of every slot.

        Args:
            units: int64 [slots, T], `NOTHING` after the last.
            active: bool [slots]; the state of other slots stays as it is.
        Returns:
            float [slots, T * hop], the sound of the units `reach` earlier.
        """
        return self.sound_of_middle(state.extend(units[..., None], active)[..., 0])

    def sound_of_middle(self, units: Tensor) -> Tensor:
        """The sound of all but `reach` units at either end.

        Args:
            units: int64 [B, reach + T + reach], `NOTHING` where there is none.
        Returns:
            float [B, T * hop].
        """
        features, is_there = self._features(units)
        pcm: Tensor = self.generator(features, is_there, self.config.reach)
        return pcm

    def lengths_of_middle(self, runs: Tensor) -> Tensor:
        """How often to repeat all but `durations.reach` units at either end.

        Args:
            runs: int64 [B, 2 + T + 2], no two neighbours equal, `NOTHING` where there is none.
        Returns:
            int64 [B, T], at least 1.
        """
        reach = self.durations.reach
        return lengths_of(self.log_lengths(runs)[:, reach:-reach])

    def log_lengths(self, runs: Tensor) -> Tensor:
        """Logarithms of lengths plus one: int64 [B, T] to float [B, T]."""
        found: Tensor = self.durations(*self._features(runs))
        return found

    def _features(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T] to features [B, embedding, T] and whether they are there, float [B, 1, T]."""
        features = F.embedding(units.clamp(min=0), self.embedding.weight)
        return features.transpose(1, 2), (units != NOTHING)[:, None].to(features.dtype)
