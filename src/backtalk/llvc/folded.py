"""What follows from a voice's weights alone, worked out once: constants and merged matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from backtalk.llvc.checkpoint import Weights
from backtalk.llvc.config import KERNEL, LlvcConfig

NORM_EPS = 1e-5

_DECODER = "mask_gen.decoder.tf_dec_layers.0"


@dataclass(frozen=True, slots=True, eq=False)
class FoldedAttention:
    """One attention; a position's share of a product is added after the product.

    Attributes:
        queries, keys_values: [D, D] and [2 * D, D].
        at_queries: [chunk_frames, D], added to queries.
        at_keys_values: [window_frames, 2 * D], added to keys and values.
    """

    queries: np.ndarray = field(repr=False)
    keys_values: np.ndarray = field(repr=False)
    at_queries: np.ndarray = field(repr=False)
    at_keys_values: np.ndarray = field(repr=False)


def position_table(positions: int, width: int) -> np.ndarray:
    """Sines and cosines, float32 [positions, width] (arXiv 1706.03762, 3.5)."""
    rates = np.exp(np.arange(0, width, 2, dtype=np.float32) * np.float32(-math.log(10_000) / width))
    angles = np.arange(positions, dtype=np.float32)[:, None] * rates
    return np.stack((np.sin(angles), np.cos(angles)), axis=-1).reshape(positions, width)


def label_vector(weights: Weights) -> np.ndarray:
    """The embedding of the one label there is, float32 [width]."""
    inner = weights["label_embedding.0.bias"]  # the label itself is 0
    inner = _norm_relu(inner, weights, "label_embedding.1")
    outer = weights["label_embedding.3.weight"] @ inner + weights["label_embedding.3.bias"]
    return _norm_relu(outer, weights, "label_embedding.4")


def fold_attention(weights: Weights, config: LlvcConfig, name: str) -> FoldedAttention:
    """Take positions out of an attention.

    Args:
        name: `self_attn`, whose queries know their position, or `multihead_attn`.
    """
    width = config.decoder_width
    matrix = weights[f"{_DECODER}.{name}.in_proj_weight"]
    bias = weights[f"{_DECODER}.{name}.in_proj_bias"]
    table = position_table(config.window_frames, width)
    at_queries = np.broadcast_to(bias[:width], (config.chunk_frames, width))
    if name == "self_attn":
        at_queries = at_queries + table[config.context_frames :] @ matrix[:width].T
    return FoldedAttention(
        queries=matrix[:width],
        keys_values=matrix[width:],
        at_queries=at_queries,
        at_keys_values=table @ matrix[width:].T + bias[width:],
    )


def many_to_one(grouped: np.ndarray) -> np.ndarray:
    """A convolution of neighbouring channels into one, [D, group, 1], as a matrix [D, C]."""
    outputs, group, _ = grouped.shape
    matrix = np.zeros((outputs, outputs * group), np.float32)
    for member in range(group):
        matrix[np.arange(outputs), np.arange(outputs) * group + member] = grouped[:, member, 0]
    return matrix


def one_to_many(grouped: np.ndarray, inputs: int) -> np.ndarray:
    """A convolution of one channel into several, [C, 1, 1], as a matrix [C, inputs]."""
    outputs = grouped.shape[0]
    matrix = np.zeros((outputs, inputs), np.float32)
    matrix[np.arange(outputs), np.arange(outputs) // (outputs // inputs)] = grouped[:, 0, 0]
    return matrix


def silence_after_prenet(weights: Weights, config: LlvcConfig) -> np.ndarray:
    """What the encoder hears before a stream begins, float32 [2 * hop].

    The pre-net's biases make sound of silence, and it begins with empty memories.
    """
    x = np.zeros(2 * config.hop, np.float32)
    for block in range(config.prenet_blocks):
        name = f"convnet_pre.down_convs.{block}"
        padded = np.pad(x, (KERNEL - 1, 0))
        filtered, gate = (
            np.correlate(padded, weights[f"{name}.{part}.weight"][0, 0], "valid")
            + weights[f"{name}.{part}.bias"]
            for part in ("filter", "gate")
        )
        x = x + np.tanh(filtered) / (1.0 + np.exp(-gate))
    return x.astype(np.float32)


def _norm_relu(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    normed = (x - x.mean()) / np.sqrt(x.var() + NORM_EPS)
    scaled = normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return np.maximum(scaled, 0.0).astype(np.float32)
