"""A Mimi from a checkpoint of either published layout."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.codecs.mimi.layouts import detect_layout, published_shapes, to_kyutai
from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.parts import (
    DOWNSAMPLE,
    LAYER_NAMES,
    UPSAMPLE,
    Conv,
    codebook_name,
    convs,
    quantizers,
    transformers,
)
from backtalk.codecs.mimi.sizes_in_file import read_sizes
from backtalk.errors import ModelError
from backtalk.models.tensors import check_tensors, read_tensors
from backtalk.nn.causal_spectra import CausalSpectrumAnalysis
from backtalk.nn.conv import CausalConvTranspose1d
from backtalk.nn.spectrum_synthesis import SpectrumSynthesis
from backtalk.nn.transformer import Transformer
from backtalk.nn.vector_quantizer import ResidualVectorQuantizer

T = TypeVar("T")

SMALLEST_USAGE = 1e-5
"""A centroid is its running sum over its usage, or over this if it was hardly used."""


def load_mimi(path: str | os.PathLike[str], config: MimiConfig | None = None) -> MimiModel:
    """A Mimi from a safetensors file, in float32 on the CPU, ready to run.

    Args:
        path: Kyutai's `tokenizer-e351c8d8-checkpoint125.safetensors`, the `model.safetensors` of
            `kyutai/mimi`, or what `save_mimi` wrote.
        config: its sizes, by default those that the file names, else those of the published
            weights.
    Raises:
        ModelError: not a safetensors file, or its tensors are not those of this Mimi.
    """
    tensors = read_tensors(path)
    return mimi_from_tensors(tensors, path, config or read_sizes(path))


def mimi_from_tensors(
    tensors: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    config: MimiConfig | None = None,
) -> MimiModel:
    """As `load_mimi`, from tensors in memory.

    Args:
        tensors: of either layout, by name.
        path: where they came from, for messages.
    """
    config = config or MimiConfig()
    if detect_layout(tensors) is None:
        shown = ", ".join(list(tensors)[:3]) or "nothing"
        raise ModelError(f"{os.fspath(path)}: is no Mimi checkpoint, it holds {shown}")
    try:
        published = to_kyutai(tensors, config)
    except ModelError as error:
        raise ModelError(f"{os.fspath(path)}: {error}") from error
    published = _without_training_marks(published)
    check_tensors(path, published, _without_training_marks(published_shapes(config)))
    with torch.device("meta"):
        model = MimiModel(config)
    model.to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, CausalSpectrumAnalysis | SpectrumSynthesis):
            module.compute_waves()
    with torch.no_grad():
        _fill(model, {name: tensor.float() for name, tensor in published.items()})
    return model.eval().requires_grad_(False)


def _without_training_marks(named: Mapping[str, T]) -> dict[str, T]:
    """Whether the running sums have begun counts in training only; some files leave it out."""
    return {name: value for name, value in named.items() if not name.endswith("._initialized")}


def _fill(model: MimiModel, tensors: Mapping[str, Tensor]) -> None:
    for name, conv in convs(model):
        _fill_conv(conv, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
    for name, transformer in transformers(model):
        _fill_transformer(transformer, tensors, name)
    down = model.encoder.downsample
    down.linear.weight.copy_(down.pack_weight(tensors[DOWNSAMPLE]))
    up = model.decoder.upsample
    up.taps.copy_(up.pack_weight(tensors[UPSAMPLE]))
    for name, quantizer in quantizers(model):
        _fill_quantizer(quantizer, tensors, name)


def _fill_conv(conv: Conv, weight: Tensor, bias: Tensor) -> None:
    conv.linear.weight.copy_(conv.pack_weight(weight))
    if isinstance(conv, CausalConvTranspose1d):
        bias = conv.pack_bias(bias)
    conv.linear.bias.copy_(bias)


def _fill_transformer(transformer: Transformer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    for i, layer in enumerate(transformer.layers):
        for theirs, ours in LAYER_NAMES.items():
            layer.get_parameter(ours).copy_(tensors[f"{prefix}.{i}.{theirs}"])


def _fill_quantizer(
    quantizer: ResidualVectorQuantizer, tensors: Mapping[str, Tensor], prefix: str
) -> None:
    quantizer.input_projection.weight.copy_(tensors[f"{prefix}.input_proj.weight"][..., 0])
    quantizer.output_projection.weight.copy_(tensors[f"{prefix}.output_proj.weight"][..., 0])
    centroids = []
    for level in range(quantizer.levels):
        codebook = codebook_name(prefix, level)
        usage = tensors[f"{codebook}.cluster_usage"].clamp(min=SMALLEST_USAGE)
        centroids.append(tensors[f"{codebook}.embedding_sum"] / usage[:, None])
    quantizer.set_centroids(torch.stack(centroids))
