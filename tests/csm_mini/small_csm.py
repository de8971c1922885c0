"""A CSM small enough to learn in a test, and sentences of made-up codes."""

from __future__ import annotations

import numpy as np

from backtalk.csm.characters import CharacterTokenizer
from backtalk.csm.config import CsmConfig, TransformerSize
from backtalk.train.spoken_codes import SpokenCodes

TOKENS = CharacterTokenizer()


def small_config(codebooks: int = 4, card: int = 16, width: int = 32) -> CsmConfig:
    return CsmConfig(
        TransformerSize(2, width, 2 * width, 2, 1, 192),
        TransformerSize(1, width, 2 * width, 2, 2, codebooks + 1),
        codebooks=codebooks,
        card=card,
        audio_vocab=card,
        text_vocab=TOKENS.vocab,
    )


def spoken_codes(texts: list[str], config: CsmConfig, frames: int, seed: int = 0) -> SpokenCodes:
    """Random codes for each text; never a frame of zeros."""
    random = np.random.default_rng(seed)
    shape = (frames * len(texts), config.codebooks)
    codes = random.integers(1, config.card, shape).astype(np.int16)
    starts = np.arange(len(texts) + 1) * frames
    return SpokenCodes(tuple(texts), codes, starts, "made up", 12.5)
