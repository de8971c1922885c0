"""A Mimi small enough for a test: the sizes of `tests/golden/mimi_small.safetensors`."""

from __future__ import annotations

from backtalk.codecs.mimi.config import MimiConfig

SMALL = MimiConfig(
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
