"""What units are made of: the states of a speech encoder."""

from __future__ import annotations

from typing import Protocol

import numpy as np

SAMPLE_RATE = 16_000
"""Hz, of all encoders here."""


class SpeechEncoder(Protocol):
    """An encoder cut off behind one of its layers.

    Attributes:
        name: of the model.
        layer: how many of its transformer layers are used.
        width: features of a state.
        hop_samples: samples per state.
    """

    @property
    def name(self) -> str: ...
    @property
    def layer(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def hop_samples(self) -> int: ...

    def states(self, pcm: np.ndarray) -> np.ndarray:
        """The states of a window, in which every one may depend on all of it.

        Args:
            pcm: float32 [T] at 16 kHz, T a multiple of `hop_samples`.
        Returns:
            float32 [T / hop_samples, width].
        """
        ...
