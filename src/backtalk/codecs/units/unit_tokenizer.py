"""Speech to units: which cluster each state of a speech encoder belongs to.

Source: GSLM (arXiv 2102.01192) and HuBERT (arXiv 2106.07447): k-means over a middle layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backtalk.codecs.units.speech_encoder import SAMPLE_RATE, SpeechEncoder
from backtalk.codecs.units.windows import BlockStream, Windows, encode_whole
from backtalk.nn.k_means import nearest


@dataclass(frozen=True, slots=True)
class Clusters:
    """Where the units lie among the states.

    Attributes:
        centroids: float [K, D], of states that have been scaled.
        mean, deviation: float [D], of the states; scaled states have 0 and 1.
    """

    centroids: Tensor
    mean: Tensor
    deviation: Tensor

    def units(self, states: Tensor) -> Tensor:
        """The cluster of each state: float [N, D] to int64 [N]."""
        return nearest(self.scaled(states), self.centroids)

    def scaled(self, states: Tensor) -> Tensor:
        """States as the centroids know them."""
        return (states - self.mean) / self.deviation


class UnitTokenizer:
    """A loaded tokenizer, shared by any number of streams.

    Args:
        encoder: makes the states.
        clusters: of states, or of means over `states_per_unit` of them.
        windows: how recordings are cut.
        states_per_unit: states that are averaged for one unit: 1 for 50 Hz, 2 for 25 Hz.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self, encoder: SpeechEncoder, clusters: Clusters, windows: Windows, states_per_unit: int
    ) -> None:
        self.encoder, self.clusters = encoder, clusters
        self.windows, self.states_per_unit = windows, states_per_unit

    @property
    def cardinality(self) -> int:
        """Units are 0 to this less one."""
        return self.clusters.centroids.shape[0]

    @property
    def hop_samples(self) -> int:
        """Samples per unit at 16 kHz."""
        return self.encoder.hop_samples * self.states_per_unit

    @property
    def unit_rate(self) -> float:
        """Units per second."""
        return self.sample_rate / self.hop_samples

    def encode(self, pcm: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
        """The units of a whole recording, the same as a stream of it would give.

        Args:
            pcm: float32 [T] at `sample_rate`; the last unit is filled up with silence.
        Returns:
            int64 [units].
        """
        return encode_whole(self.open_stream(sample_rate), pcm)

    def encode_at_once(self, pcm: np.ndarray) -> np.ndarray:
        """The units of a whole recording that the encoder sees in one piece, and nothing else.

        That is how units of HuBERT are published; they differ from those of a stream.

        Args:
            pcm: float32 [T] at 16 kHz; what is left over of a unit is dropped.
        Returns:
            int64 [T // hop_samples].
        """
        count = len(pcm) // self.hop_samples
        if not count:
            return np.zeros(0, np.int64)
        states = self._means(self.encoder.states(pcm[: count * self.hop_samples]))
        return self.clusters.units(torch.from_numpy(states)).numpy()

    def open_stream(self, sample_rate: int = SAMPLE_RATE) -> BlockStream:
        """A new stream of waveform at `sample_rate` Hz to units."""
        return self._open(self._block_units, np.zeros(0, np.int64), sample_rate)

    def states(self, pcm: np.ndarray) -> np.ndarray:
        """What units are made of: float32 [T] at 16 kHz to float32 [units, width]."""
        empty = np.zeros((0, self.encoder.width), np.float32)
        return encode_whole(self._open(self._block_states, empty, SAMPLE_RATE), pcm)

    def _open(
        self, encode: Callable[[np.ndarray], np.ndarray], empty: np.ndarray, sample_rate: int
    ) -> BlockStream:
        return BlockStream(self.windows, self.hop_samples, encode, empty, sample_rate)

    def _block_units(self, window: np.ndarray) -> np.ndarray:
        return self.clusters.units(torch.from_numpy(self._block_states(window))).numpy()

    def _block_states(self, window: np.ndarray) -> np.ndarray:
        first, count = self.windows.before, self.windows.block
        return self._means(self.encoder.states(window))[first : first + count]

    def _means(self, states: np.ndarray) -> np.ndarray:
        """Over the states of each unit."""
        means: np.ndarray = states.reshape(-1, self.states_per_unit, self.encoder.width).mean(1)
        return means
