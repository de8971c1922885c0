"""Which part of a Mimi holds which tensors of a checkpoint in Kyutai's layout."""

from __future__ import annotations

from collections.abc import Iterator

from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.seanet import ResidualBlock, SeanetDecoder, SeanetEncoder
from backtalk.nn.conv import CausalConv1d, CausalConvTranspose1d
from backtalk.nn.transformer import Transformer
from backtalk.nn.vector_quantizer import ResidualVectorQuantizer

Conv = CausalConv1d | CausalConvTranspose1d

DOWNSAMPLE = "downsample.conv.conv.conv.weight"
UPSAMPLE = "upsample.convtr.convtr.convtr.weight"

LAYER_NAMES = {
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
"""Of a transformer layer: the checkpoint's name, and ours."""


def convs(model: MimiModel) -> Iterator[tuple[str, Conv]]:
    """The convolutions with a bias, each with the name before `.weight` and `.bias`."""
    yield from _encoder_convs(model.encoder.seanet)
    yield from _decoder_convs(model.decoder.seanet)


def transformers(model: MimiModel) -> Iterator[tuple[str, Transformer]]:
    """Both transformers, each with the name before the number of a layer."""
    yield "encoder_transformer.transformer.layers", model.encoder.transformer
    yield "decoder_transformer.transformer.layers", model.decoder.transformer


def quantizers(model: MimiModel) -> Iterator[tuple[str, ResidualVectorQuantizer]]:
    """Both quantizers and their names."""
    yield "quantizer.rvq_first", model.quantizer.semantic
    yield "quantizer.rvq_rest", model.quantizer.acoustic


def codebook_name(quantizer: str, level: int) -> str:
    """What the names of a codebook's tensors begin with."""
    return f"{quantizer}.vq.layers.{level}._codebook"


def _encoder_convs(seanet: SeanetEncoder) -> Iterator[tuple[str, Conv]]:
    yield "encoder.model.0.conv.conv", seanet.first
    for i, (block, down) in enumerate(zip(seanet.blocks, seanet.downs, strict=True)):
        yield from _block_convs(f"encoder.model.{3 * i + 1}", block)
        yield f"encoder.model.{3 * i + 3}.conv.conv", down
    yield f"encoder.model.{3 * len(seanet.downs) + 2}.conv.conv", seanet.last


def _decoder_convs(seanet: SeanetDecoder) -> Iterator[tuple[str, Conv]]:
    yield "decoder.model.0.conv.conv", seanet.first
    for i, (up, block) in enumerate(zip(seanet.ups, seanet.blocks, strict=True)):
        yield f"decoder.model.{3 * i + 2}.convtr.convtr", up
        yield from _block_convs(f"decoder.model.{3 * i + 3}", block)
    yield f"decoder.model.{3 * len(seanet.ups) + 2}.conv.conv", seanet.last


def _block_convs(name: str, block: ResidualBlock) -> Iterator[tuple[str, Conv]]:
    yield f"{name}.block.1.conv.conv", block.first
    yield f"{name}.block.3.conv.conv", block.second
