"""The sizes of a Mimi codec."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MimiConfig:
    """Sizes of a Mimi; the defaults are those of the published weights (arXiv 2410.00037, 3.3).

    Attributes:
        sample_rate: Hz.
        channels: of the first convolution; every stride doubles them.
        strides: of the encoder's convolutions, in its order.
        spectrum_hop: samples per spectrum, if the first convolution reads spectra and the last
            writes them, an end at the rate of samples being slow to learn; 0, as published, if
            both know samples.
        kernel, residual_kernel, last_kernel: samples the first convolution, a residual block and
            the last convolution see.
        width: features of a latent.
        transformer_layers, heads, hidden: of each of the two transformers.
        window: positions that a position of the transformers looks back at, itself included.
        frame_positions: positions of the transformers per frame.
        codebook_dim, cardinality: features and number of a codebook's centroids.
        semantic_codebooks, total_codebooks: how many codebooks, of the first kind and in all.
    """

    sample_rate: int = 24_000
    channels: int = 64
    strides: tuple[int, ...] = (4, 5, 6, 8)
    spectrum_hop: int = 0
    kernel: int = 7
    residual_kernel: int = 3
    last_kernel: int = 3
    width: int = 512
    transformer_layers: int = 8
    heads: int = 8
    hidden: int = 2048
    window: int = 250
    frame_positions: int = 2
    codebook_dim: int = 256
    cardinality: int = 2048
    semantic_codebooks: int = 1
    total_codebooks: int = 32

    @property
    def frame_size(self) -> int:
        """Samples per frame."""
        return max(1, self.spectrum_hop) * math.prod(self.strides) * self.frame_positions

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.frame_size

    @property
    def inputs(self) -> int:
        """Features of what the first convolution reads: a sample, or magnitudes of four hops."""
        return 2 * self.spectrum_hop + 1

    @property
    def outputs(self) -> int:
        """Features of what the last convolution writes: a sample, or magnitudes and phases."""
        return 2 * self.inputs if self.spectrum_hop else 1

    @property
    def acoustic_codebooks(self) -> int:
        """Codebooks after the semantic ones."""
        return self.total_codebooks - self.semantic_codebooks


def mimi_small() -> MimiConfig:
    """Small enough for tests: the sizes of `tests/golden/mimi_small.safetensors`."""
    return MimiConfig(
        channels=4,
        strides=(2, 3),
        width=16,
        transformer_layers=2,
        heads=2,
        hidden=32,
        window=6,
        codebook_dim=8,
        cardinality=32,
        total_codebooks=4,
    )
