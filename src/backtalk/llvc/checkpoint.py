"""The tensors of a published LLVC checkpoint: their names, their shapes and what they give away.

Source: https://github.com/KoeAI/LLVC (model.py, cached_convnet.py), MIT. The published file is a
pickle; as safetensors its `model` part has the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from backtalk.errors import ModelError
from backtalk.llvc.config import KERNEL, LABEL_WIDTH, LlvcConfig

Weights = Mapping[str, np.ndarray]
"""Tensors of a voice by their published names, float32."""

POSITIONS = "mask_gen.decoder.pos_enc.pe"
"""A table that follows from its size: accepted in a file, never read."""

_DECODER = "mask_gen.decoder.tf_dec_layers.0"
_SHOWN_NAMES = 3


def published_shapes(config: LlvcConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint, and its shape."""
    width, decoder, hidden, hop = config.width, config.decoder_width, config.hidden, config.hop
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, *inputs: int) -> None:
        shapes[f"{name}.weight"] = (outputs, *inputs)
        shapes[f"{name}.bias"] = (outputs,)

    def norm(name: str, features: int) -> None:
        shapes[f"{name}.weight"] = (features,)
        shapes[f"{name}.bias"] = (features,)

    for block in range(config.prenet_blocks):
        for gate in ("filter", "gate"):
            linear(f"convnet_pre.down_convs.{block}.{gate}", 1, 1, KERNEL)
    shapes["in_conv.0.weight"] = (width, 1, 3 * hop)
    linear("label_embedding.0", LABEL_WIDTH, 1)
    norm("label_embedding.1", LABEL_WIDTH)
    linear("label_embedding.3", width, LABEL_WIDTH)
    norm("label_embedding.4", width)
    for layer in range(config.encoder_layers):
        name = f"mask_gen.encoder.dcc_layers.dcc_{layer}.layers"
        linear(f"{name}.0", width, 1, KERNEL)
        norm(f"{name}.1", width)
        linear(f"{name}.3", width, width, 1)
        norm(f"{name}.4", width)
    linear("mask_gen.proj_e2d_e.0", decoder, width // decoder, 1)
    linear("mask_gen.proj_e2d_l.0", decoder, width // decoder, 1)
    linear("mask_gen.proj_d2e.0", width, 1, 1)
    for attention in ("self_attn", "multihead_attn"):
        shapes[f"{_DECODER}.{attention}.in_proj_weight"] = (3 * decoder, decoder)
        shapes[f"{_DECODER}.{attention}.in_proj_bias"] = (3 * decoder,)
        linear(f"{_DECODER}.{attention}.out_proj", decoder, decoder)
    linear(f"{_DECODER}.linear1", hidden, decoder)
    linear(f"{_DECODER}.linear2", decoder, hidden)
    for i in (1, 2, 3):
        norm(f"{_DECODER}.norm{i}", decoder)
    shapes["out_conv.0.weight"] = (width, 1, (config.overlap_frames + 1) * hop)
    return shapes


def config_of(
    shapes: Mapping[str, tuple[int, ...]], chunk_frames: int = 13, context_frames: int = 13
) -> LlvcConfig:
    """The sizes that tensors of these shapes have.

    Args:
        shapes: by published name.
        chunk_frames, context_frames: what a voice was trained with; no tensor shows it.
    Raises:
        ModelError: a tensor that tells a size is missing or has the wrong number of dimensions.
    """

    def shape_of(name: str, dimensions: int) -> tuple[int, ...]:
        shape = shapes.get(name)
        if shape is None or len(shape) != dimensions or 0 in shape:
            raise ModelError(f"is no LLVC voice: {name} is {shape or 'missing'}")
        return shape

    width, _, window = shape_of("in_conv.0.weight", 3)
    hop = max(window // 3, 1)
    decoder_width = shape_of("mask_gen.proj_e2d_e.0.weight", 3)[0]
    overlap_frames = shape_of("out_conv.0.weight", 3)[2] // hop - 1
    return LlvcConfig(
        hop=hop,
        width=width,
        encoder_layers=_count(shapes, "mask_gen.encoder.dcc_layers.dcc_", ".layers.0.weight"),
        decoder_width=decoder_width,
        chunk_frames=chunk_frames,
        context_frames=context_frames,
        overlap_frames=overlap_frames,
        prenet_blocks=_count(shapes, "convnet_pre.down_convs.", ".filter.weight"),
    )


def check_weights(weights: Weights, config: LlvcConfig) -> None:
    """Demand exactly the tensors of `config`, finite.

    Raises:
        ModelError: naming the first few that are missing, too many, misshapen or not finite.
    """
    shapes = published_shapes(config)
    if missing := [name for name in shapes if name not in weights]:
        raise ModelError(f"lacks {_some(missing)}; is it the whole file of this voice?")
    if extra := [name for name in weights if name not in shapes and name != POSITIONS]:
        raise ModelError(f"holds what an LLVC has not: {_some(extra)}")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ModelError(f"{name} has shape {weights[name].shape}, not {shape}")
    if spoilt := [name for name in shapes if not np.isfinite(weights[name]).all()]:
        raise ModelError(f"has NaN or infinity in {_some(spoilt)}; fetch it again")


def _count(names: Iterable[str], prefix: str, suffix: str) -> int:
    return sum(name.startswith(prefix) and name.endswith(suffix) for name in names)


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
