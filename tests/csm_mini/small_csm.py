"""A CSM small enough to learn in a test, its codec, and sentences of made-up codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.csm.config import CsmConfig, TransformerSize
from backtalk.csm.miniature_file import Miniature
from backtalk.csm.phonemes import PHONEMES, PhonemeTokenizer
from backtalk.train.spoken_codes import SpokenCodes

TOKENS = PhonemeTokenizer()
CODEC = MimiConfig(
    channels=2,
    width=16,
    transformer_layers=1,
    heads=2,
    hidden=16,
    codebook_dim=8,
    cardinality=32,
    total_codebooks=4,
)
"""Mimi's rate and frames, and nothing else of it."""


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
    return SpokenCodes(tuple(texts), codes, np.full(len(texts), frames))


def write_codec(path: Path, seed: int = 0) -> str:
    """A file of random weights; returns the hash of its codes."""
    from safetensors.torch import save_file

    from backtalk.codecs.mimi.codes_identity import codes_sha256
    from backtalk.codecs.mimi.load import load_mimi
    from backtalk.codecs.mimi.random_mimi import random_mimi_tensors
    from backtalk.codecs.mimi.sizes_in_file import sizes_metadata

    save_file(random_mimi_tensors(seed, CODEC), path, sizes_metadata(CODEC))
    return codes_sha256(load_mimi(path))


def write_csm(path: Path, config: CsmConfig, codes_sha256: str) -> Miniature:
    """A file that has learned nothing; returns what it says of itself."""
    import torch
    from safetensors.torch import save_file

    from backtalk.csm.miniature_file import miniature_metadata
    from backtalk.csm.new_csm import new_csm
    from backtalk.csm.save import csm_tensors

    torch.manual_seed(0)
    miniature = Miniature(config, PHONEMES, codes_sha256)
    save_file(csm_tensors(new_csm(config)), path, miniature_metadata(miniature))
    return miniature
