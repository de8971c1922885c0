"""Sizes of a CSM: two Llama-shaped transformers and the vocabularies between them.

Source: https://github.com/SesameAILabs/csm (models.py), Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransformerSize:
    """One transformer.

    Attributes:
        layers, width, hidden: how many, features between them, features inside the MLP.
        heads, kv_heads: query heads, and key/value heads.
        max_positions: the longest sequence.
    """

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    max_positions: int

    @property
    def head_dim(self) -> int:
        """Features per head."""
        return self.width // self.heads


@dataclass(frozen=True, slots=True)
class CsmConfig:
    """A CSM.

    Attributes:
        backbone: hears everything, one position per text token or frame.
        depth: writes the codes of a frame one after the other.
        codebooks: codes per frame at full depth.
        card: codes of a codebook that the codec knows; ids from here on are reserved.
        audio_vocab: rows per codebook of the audio embedding, reserved ones included.
        text_vocab: rows of the text embedding.
    """

    backbone: TransformerSize
    depth: TransformerSize
    codebooks: int = 32
    card: int = 2048
    audio_vocab: int = 2051
    text_vocab: int = 128_256


def csm_1b() -> CsmConfig:
    """The published size, 1,552,791,552 parameters without the codec."""
    return CsmConfig(
        backbone=TransformerSize(16, 2048, 8192, 32, 8, 2048),
        depth=TransformerSize(4, 1024, 8192, 8, 2, 33),
    )


def csm_tiny() -> CsmConfig:
    """Small enough for tests; the proportions of the heads are those of the published size."""
    return CsmConfig(
        backbone=TransformerSize(2, 64, 128, 8, 2, 256),
        depth=TransformerSize(2, 32, 64, 4, 1, 9),
        codebooks=8,
        card=64,
        audio_vocab=67,
        text_vocab=160,
    )
