"""An LLVC small enough for a test: the sizes of `tests/golden/llvc_small.safetensors`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backtalk.llvc.config import llvc_small
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.random_voice import random_voice

# Weights, noise and what becomes of it in the authors' code, written by benchmarks/llvc_parity.py.
GOLDEN = Path(__file__).parent.parent / "golden" / "llvc_small.safetensors"

SMALL = llvc_small()


def small_engine(chunk_factor: int = 1, *, prenet: bool = False) -> LlvcEngine:
    """An engine with random weights."""
    config = SMALL if prenet else SMALL.without_prenet()
    return LlvcEngine(random_voice(0, config), chunk_factor=chunk_factor)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Float32 [samples], -1..1."""
    return np.random.default_rng(seed).uniform(-0.9, 0.9, samples).astype(np.float32)
