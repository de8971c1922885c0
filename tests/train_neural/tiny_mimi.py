"""A Mimi small enough to be trained in a test."""

from __future__ import annotations

from backtalk.codecs.mimi.config import MimiConfig

TINY = MimiConfig(
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
