"""The two published layouts of a Mimi checkpoint, and the way from each to the other.

`kyutai`: `tokenizer-e351c8d8-checkpoint125.safetensors` beside the Moshi weights, 318 tensors.
`transformers`: `kyutai/mimi`, which names things otherwise and orders the rows of queries and keys
by halves of a head instead of by pairs. Both keep the running sums that centroids come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.errors import ModelError
from backtalk.nn.rope import to_half_split, to_interleaved

Layout = Literal["kyutai", "transformers"]

# From Kyutai's names to those of transformers; queries, keys and values apart.
_RENAMES = (
    (r"^(en|de)coder\.model\.", r"\1coder.layers."),
    (r"\.(conv|convtr)(\.\1)+\.", ".conv."),
    (r"_transformer\.transformer\.", "_transformer."),
    (r"\.self_attn\.out_proj\.", ".self_attn.o_proj."),
    (r"\.linear([12])\.", r".mlp.fc\1."),
    (r"\.norm1\.", ".input_layernorm."),
    (r"\.norm2\.", ".post_attention_layernorm."),
    (r"\.layer_scale_1\.", ".self_attn_layer_scale."),
    (r"\.layer_scale_2\.", ".mlp_layer_scale."),
    (r"\.rvq_first\.(vq\.)?", ".semantic_residual_vector_quantizer."),
    (r"\.rvq_rest\.(vq\.)?", ".acoustic_residual_vector_quantizer."),
    (r"\._codebook\._initialized$", ".codebook.initialized"),
    (r"\._codebook\.embedding_sum$", ".codebook.embed_sum"),
    (r"\._codebook\.", ".codebook."),
)
# From the spellings of other versions of Kyutai's code to those of the published file.
_OTHER_SPELLINGS = (
    (r"\.in_proj(s\.0)?\.weight$", ".in_proj_weight"),
    (r"\.out_projs\.0\.", ".out_proj."),
    (r"\._codebook\.inited$", "._codebook._initialized"),
    (r"\._codebook\.cluster_size$", "._codebook.cluster_usage"),
    (r"\._codebook\.embed_(avg|sum)$", "._codebook.embedding_sum"),
)
_QKV = ("q_proj.weight", "k_proj.weight", "v_proj.weight")


def published_shapes(config: MimiConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint in Kyutai's layout, and its shape."""
    shapes: dict[str, tuple[int, ...]] = {}
    width, residual = config.width, config.residual_kernel

    def conv(name: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"{name}.conv.conv.weight"] = (outputs, inputs, kernel)
        shapes[f"{name}.conv.conv.bias"] = (outputs,)

    def block(name: str, channels: int) -> None:
        conv(f"{name}.block.1", channels, channels // 2, residual)
        conv(f"{name}.block.3", channels // 2, channels, 1)

    channels = config.channels
    conv("encoder.model.0", config.inputs, channels, config.kernel)
    for i, stride in enumerate(config.strides):
        block(f"encoder.model.{3 * i + 1}", channels)
        conv(f"encoder.model.{3 * i + 3}", channels, 2 * channels, 2 * stride)
        channels *= 2
    last = 3 * len(config.strides) + 2
    conv(f"encoder.model.{last}", channels, width, config.last_kernel)

    conv("decoder.model.0", width, channels, config.kernel)
    for i, stride in enumerate(reversed(config.strides)):
        up = f"decoder.model.{3 * i + 2}.convtr.convtr"
        shapes[f"{up}.weight"] = (channels, channels // 2, 2 * stride)
        shapes[f"{up}.bias"] = (channels // 2,)
        channels //= 2
        block(f"decoder.model.{3 * i + 3}", channels)
    conv(f"decoder.model.{last}", channels, config.outputs, config.last_kernel)

    for half in ("encoder", "decoder"):
        for layer in range(config.transformer_layers):
            prefix = f"{half}_transformer.transformer.layers.{layer}"
            shapes[f"{prefix}.self_attn.in_proj_weight"] = (3 * width, width)
            shapes[f"{prefix}.self_attn.out_proj.weight"] = (width, width)
            shapes[f"{prefix}.linear1.weight"] = (config.hidden, width)
            shapes[f"{prefix}.linear2.weight"] = (width, config.hidden)
            for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
                shapes[f"{prefix}.{name}"] = (width,)
            for name in ("layer_scale_1.scale", "layer_scale_2.scale"):
                shapes[f"{prefix}.{name}"] = (width,)

    kernel = 2 * config.frame_positions
    shapes["downsample.conv.conv.conv.weight"] = (width, width, kernel)
    shapes["upsample.convtr.convtr.convtr.weight"] = (width, 1, kernel)
    levels = {"rvq_first": config.semantic_codebooks, "rvq_rest": config.acoustic_codebooks}
    for quantizer, count in levels.items():
        prefix = f"quantizer.{quantizer}"
        shapes[f"{prefix}.input_proj.weight"] = (config.codebook_dim, width, 1)
        shapes[f"{prefix}.output_proj.weight"] = (width, config.codebook_dim, 1)
        for level in range(count):
            codebook = f"{prefix}.vq.layers.{level}._codebook"
            shapes[f"{codebook}._initialized"] = (1,)
            shapes[f"{codebook}.cluster_usage"] = (config.cardinality,)
            shapes[f"{codebook}.embedding_sum"] = (config.cardinality, config.codebook_dim)
    return shapes


def detect_layout(names: Iterable[str]) -> Layout | None:
    """The layout that tensors of these names have; None if it is neither."""
    for name in names:
        if name.startswith(("encoder.model.", "decoder.model.", "quantizer.rvq_first.")):
            return "kyutai"
        if name.startswith(("encoder.layers.", "decoder.layers.", "quantizer.semantic_")):
            return "transformers"
    return None


def to_kyutai(tensors: Mapping[str, Tensor], config: MimiConfig) -> dict[str, Tensor]:
    """Tensors of either layout in Kyutai's, bit for bit, in the published file's spelling.

    Tensors that are in no Mimi keep their names, so that a check can name them.

    Raises:
        ModelError: queries, keys or values of a layer are there without the others.
    """
    if detect_layout(tensors) != "transformers":
        return {_renamed(name, _OTHER_SPELLINGS): tensor for name, tensor in tensors.items()}
    left = dict(tensors)
    found: dict[str, Tensor] = {}
    for name in published_shapes(config):
        theirs = _renamed(name, _RENAMES)
        if theirs.endswith("in_proj_weight"):
            parts = [theirs.replace("in_proj_weight", part) for part in _QKV]
            missing = [part for part in parts if part not in left]
            if len(missing) == len(parts):
                continue
            if missing:
                raise ModelError(f"lacks {missing[0]}; is it the whole file of this model?")
            queries, keys, values = (left.pop(part) for part in parts)
            turned = (to_interleaved(part, config.heads) for part in (queries, keys))
            found[name] = torch.cat((*turned, values))
        elif theirs in left:
            found[name] = left.pop(theirs)
    return found | left


def to_transformers(tensors: Mapping[str, Tensor], config: MimiConfig) -> dict[str, Tensor]:
    """Tensors of either layout in that of `transformers`, bit for bit; see `to_kyutai`."""
    found: dict[str, Tensor] = {}
    for name, tensor in to_kyutai(tensors, config).items():
        theirs = _renamed(name, _RENAMES)
        if theirs.endswith("in_proj_weight"):
            queries, keys, values = tensor.chunk(3)
            parts = (
                to_half_split(queries, config.heads),
                to_half_split(keys, config.heads),
                values.clone(),
            )
            for part, weight in zip(_QKV, parts, strict=True):
                found[theirs.replace("in_proj_weight", part)] = weight
        else:
            found[theirs] = tensor
    return found


def _renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
