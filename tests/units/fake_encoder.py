"""A speech encoder that is quick, and sees all of its window in every state, as Whisper does."""

from __future__ import annotations

import numpy as np
import torch

from backtalk.codecs.units.unit_tokenizer import Clusters, UnitTokenizer
from backtalk.codecs.units.windows import Windows

WIDTH = 6


class FakeEncoder:
    name, layer, width, hop_samples = "fake", 1, WIDTH, 320

    def states(self, pcm: np.ndarray) -> np.ndarray:
        rows = pcm.reshape(-1, self.hop_samples)
        each = np.stack([np.sqrt((rows[:, i::WIDTH] ** 2).mean(1)) for i in range(WIDTH)], axis=1)
        return (each + each.mean()).astype(np.float32)


def fake_tokenizer(
    windows: Windows | None = None, states_per_unit: int = 2, units: int = 16
) -> UnitTokenizer:
    random = torch.Generator().manual_seed(0)
    centroids = torch.randn(units, WIDTH, generator=random)
    clusters = Clusters(centroids, torch.full((WIDTH,), 0.15), torch.full((WIDTH,), 0.03))
    return UnitTokenizer(FakeEncoder(), clusters, windows or Windows(4, 3, 2), states_per_unit)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Noise whose level changes often."""
    random = np.random.default_rng(seed)
    levels = np.repeat(random.uniform(0.01, 0.2, samples // 400 + 1), 400)[:samples]
    return (levels * random.normal(size=samples)).astype(np.float32)
