"""A Mimi with random weights: right in size and cost, deaf and dumb in what it says.

For measuring speed and for comparing implementations with each other; never for how it sounds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.codecs.mimi.layouts import published_shapes
from backtalk.codecs.mimi.load import mimi_from_tensors
from backtalk.codecs.mimi.mimi_model import MimiModel


def random_mimi(seed: int, config: MimiConfig | None = None) -> MimiModel:
    """A Mimi with random weights, the same for the same seed and sizes."""
    return mimi_from_tensors(
        random_mimi_tensors(seed, config), f"random weights {seed}", config or MimiConfig()
    )


def random_mimi_tensors(seed: int, config: MimiConfig | None = None) -> dict[str, Tensor]:
    """The tensors of `random_mimi` in Kyutai's layout, float32.

    Scaled so that signals keep their size from layer to layer, every part has a say in the result
    and the codes differ from frame to frame.
    """
    random = torch.Generator().manual_seed(seed)
    config = config or MimiConfig()

    def normal(shape: tuple[int, ...], std: float) -> Tensor:
        return torch.randn(shape, generator=random) * std

    tensors: dict[str, Tensor] = {}
    for name, shape in published_shapes(config).items():
        if name.endswith("_initialized"):
            value = torch.ones(shape)
        elif name.endswith("cluster_usage"):
            value = 0.5 + torch.rand(shape, generator=random)
        elif name.endswith("embedding_sum"):
            usage = tensors[name.replace("embedding_sum", "cluster_usage")]
            value = normal(shape, 0.3) * usage[:, None]
        elif name.endswith(".scale"):
            value = 0.1 + 0.1 * torch.rand(shape, generator=random)
        elif "norm" in name:
            value = normal(shape, 0.1) + (1.0 if name.endswith(".weight") else 0.0)
        elif name.endswith(".bias"):
            value = normal(shape, 0.05)
        else:
            value = normal(shape, 1.2 / math.sqrt(_inputs_per_output(name, shape)))
        tensors[name] = value
    # About as loud as speech.
    last = f"decoder.model.{3 * len(config.strides) + 2}.conv.conv"
    tensors[f"{last}.weight"] *= 0.05
    tensors[f"{last}.bias"] *= 0.05
    return tensors


def _inputs_per_output(name: str, shape: tuple[int, ...]) -> int:
    if "convtr" not in name:
        return math.prod(shape[1:])
    # Every output of these transposed convolutions is made of two inputs.
    return 2 if name.startswith("upsample") else 2 * shape[0]
