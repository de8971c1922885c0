"""Weights and inputs that are the same on every machine and in every version of the libraries."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backtalk.csm.checkpoint import entries
from backtalk.csm.config import CsmConfig


def golden_tensors(config: CsmConfig) -> dict[str, Tensor]:
    """A checkpoint in the original layout.

    The rows of the heads that belong to reserved ids are zero, so that greedy implementations with
    and without a ban on them choose the same codes.
    """
    rng = np.random.RandomState(20)  # noqa: NPY002, its stream is frozen for good
    tensors = {}
    for entry in entries(config):
        scale = {1: 0.1}.get(len(entry.shape), entry.shape[-1] ** -0.5)
        if "embeddings" in entry.ours:
            scale = 0.3
        values = rng.standard_normal(entry.shape).astype(np.float32) * np.float32(scale)
        tensors[entry.original] = torch.from_numpy(values + np.float32(len(entry.shape) == 1))
    tensors["codebook0_head.weight"][config.card :] = 0
    tensors["audio_head"][:, :, config.card :] = 0
    return tensors


def golden_text(config: CsmConfig, length: int = 12) -> Tensor:
    """Int64 [length] of text ids."""
    rng = np.random.RandomState(21)  # noqa: NPY002
    return torch.from_numpy(rng.randint(0, config.text_vocab - 8, length).astype(np.int64))


def golden_codes(config: CsmConfig, length: int = 10) -> Tensor:
    """Int64 [codebooks, length] of codes."""
    rng = np.random.RandomState(22)  # noqa: NPY002
    shape = (config.codebooks, length)
    return torch.from_numpy(rng.randint(0, config.card, shape).astype(np.int64))
