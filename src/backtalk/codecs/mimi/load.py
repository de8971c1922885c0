"""A Mimi from a published checkpoint of either layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.codecs.mimi.layouts import detect_layout, published_shapes, to_kyutai
from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.seanet import ResidualBlock, SeanetDecoder, SeanetEncoder
from backtalk.errors import ModelError
from backtalk.models.tensors import check_tensors, read_tensors
from backtalk.nn.conv import CausalConv1d, CausalConvTranspose1d
from backtalk.nn.transformer import Transformer
from backtalk.nn.vector_quantizer import ResidualVectorQuantizer

T = TypeVar("T")

_LAYER_NAMES = {
    "self_attn.in_proj_weight": "attention.qkv.weight",
    "self_attn.out_proj.weight": "attention.out.weight",
    "linear1.weight": "mlp.up.weight",
    "linear2.weight": "mlp.down.weight",
    "norm1.weight": "attention_norm.weight",
    "norm1.bias": "attention_norm.bias",
    "norm2.weight": "mlp_norm.weight",
    "norm2.bias": "mlp_norm.bias",
    "layer_scale_1.scale": "attention_scale",
    "layer_scale_2.scale": "mlp_scale",
}

SMALLEST_USAGE = 1e-5
"""A centroid is its running sum over its usage, or over this if it was hardly used."""


def load_mimi(path: str | os.PathLike[str], config: MimiConfig | None = None) -> MimiModel:
    """A Mimi from a safetensors file, in float32 on the CPU, ready to run.

    Args:
        path: Kyutai's `tokenizer-e351c8d8-checkpoint125.safetensors` or the `model.safetensors` of
            `kyutai/mimi`.
        config: its sizes, by default those of the published weights.
    Raises:
        ModelError: not a safetensors file, or its tensors are not those of this Mimi.
    """
    return mimi_from_tensors(read_tensors(path), path, config)


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
    with torch.no_grad():
        _fill(model, {name: tensor.float() for name, tensor in published.items()})
    return model.eval().requires_grad_(False)


def _without_training_marks(named: Mapping[str, T]) -> dict[str, T]:
    """Whether the running sums have begun counts in training only; some files leave it out."""
    return {name: value for name, value in named.items() if not name.endswith("._initialized")}


def _fill(model: MimiModel, tensors: Mapping[str, Tensor]) -> None:
    for name, conv in (
        *_encoder_convs(model.encoder.seanet),
        *_decoder_convs(model.decoder.seanet),
    ):
        _fill_conv(conv, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
    for half, transformer in (
        ("encoder", model.encoder.transformer),
        ("decoder", model.decoder.transformer),
    ):
        _fill_transformer(transformer, tensors, f"{half}_transformer.transformer.layers")
    down = model.encoder.downsample
    _product(down).weight.copy_(down.pack_weight(tensors["downsample.conv.conv.conv.weight"]))
    up = model.decoder.upsample
    up.taps.copy_(up.pack_weight(tensors["upsample.convtr.convtr.convtr.weight"]))
    _fill_quantizer(model.quantizer.semantic, tensors, "quantizer.rvq_first")
    _fill_quantizer(model.quantizer.acoustic, tensors, "quantizer.rvq_rest")


def _encoder_convs(seanet: SeanetEncoder) -> Iterator[tuple[str, CausalConv1d]]:
    yield "encoder.model.0.conv.conv", seanet.first
    for i, (block, down) in enumerate(zip(seanet.blocks, seanet.downs, strict=True)):
        yield from _block_convs(f"encoder.model.{3 * i + 1}", block)
        yield f"encoder.model.{3 * i + 3}.conv.conv", down
    yield f"encoder.model.{3 * len(seanet.downs) + 2}.conv.conv", seanet.last


def _decoder_convs(
    seanet: SeanetDecoder,
) -> Iterator[tuple[str, CausalConv1d | CausalConvTranspose1d]]:
    yield "decoder.model.0.conv.conv", seanet.first
    for i, (up, block) in enumerate(zip(seanet.ups, seanet.blocks, strict=True)):
        yield f"decoder.model.{3 * i + 2}.convtr.convtr", up
        yield from _block_convs(f"decoder.model.{3 * i + 3}", block)
    yield f"decoder.model.{3 * len(seanet.ups) + 2}.conv.conv", seanet.last


def _block_convs(name: str, block: ResidualBlock) -> Iterator[tuple[str, CausalConv1d]]:
    yield f"{name}.block.1.conv.conv", block.first
    yield f"{name}.block.3.conv.conv", block.second


def _fill_conv(conv: CausalConv1d | CausalConvTranspose1d, weight: Tensor, bias: Tensor) -> None:
    product = _product(conv)
    product.weight.copy_(conv.pack_weight(weight))
    product.bias.copy_(conv.pack_bias(bias) if isinstance(conv, CausalConvTranspose1d) else bias)


def _product(conv: CausalConv1d | CausalConvTranspose1d) -> nn.Linear:
    assert isinstance(conv.product, nn.Linear), "weights are filled before they are made smaller"
    return conv.product


def _fill_transformer(transformer: Transformer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    for i, layer in enumerate(transformer.layers):
        for theirs, ours in _LAYER_NAMES.items():
            layer.get_parameter(ours).copy_(tensors[f"{prefix}.{i}.{theirs}"])


def _fill_quantizer(
    quantizer: ResidualVectorQuantizer, tensors: Mapping[str, Tensor], prefix: str
) -> None:
    quantizer.input_projection.weight.copy_(tensors[f"{prefix}.input_proj.weight"][..., 0])
    quantizer.output_projection.weight.copy_(tensors[f"{prefix}.output_proj.weight"][..., 0])
    centroids = []
    for level in range(quantizer.levels):
        codebook = f"{prefix}.vq.layers.{level}._codebook"
        usage = tensors[f"{codebook}.cluster_usage"].clamp(min=SMALLEST_USAGE)
        centroids.append(tensors[f"{codebook}.embedding_sum"] / usage[:, None])
    quantizer.set_centroids(torch.stack(centroids))
