"""A voice with random weights: right in size and cost, and noise to listen to."""

from __future__ import annotations

import math

import numpy as np

from backtalk.llvc.checkpoint import published_shapes
from backtalk.llvc.config import LlvcConfig
from backtalk.llvc.voice_file import Voice

_SIZES = tuple(range(1, 14))
"""Of chunks: noise sounds the same in all."""


def random_voice(seed: int, config: LlvcConfig | None = None) -> Voice:
    """A voice whose every part has a say in what comes out; the same for the same seed.

    Args:
        seed: of the weights.
        config: sizes, by default those of the published `llvc_nc`.
    """
    config = config or LlvcConfig()
    random = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...], deviation: float) -> np.ndarray:
        return random.standard_normal(shape, np.float32) * np.float32(deviation)

    weights: dict[str, np.ndarray] = {}
    for name, shape in published_shapes(config).items():
        is_norm = ".norm" in name or ".layers.1." in name or ".layers.4." in name
        is_norm = is_norm or name.startswith(("label_embedding.1.", "label_embedding.4."))
        if is_norm and name.endswith(".weight"):
            weights[name] = 1.0 + normal(shape, 0.1)
        elif name.endswith("bias"):
            weights[name] = normal(shape, 0.1)
        elif name == "out_conv.0.weight":
            inputs = shape[0] * (config.overlap_frames + 1)
            weights[name] = normal(shape, 0.5 / math.sqrt(inputs))
        else:
            weights[name] = normal(shape, 1.2 / math.sqrt(math.prod(shape[1:])))
    return Voice(f"random-{seed}", config, weights, _SIZES)
