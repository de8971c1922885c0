"""HuBERT from a safetensors file, of `transformers` or of fairseq.

`transformers`: `model.safetensors` of `facebook/hubert-base-ls960` or `slprl/mhubert-base-25hz`.
fairseq: the `model` part of a `.pt`, which as a pickle has to be converted first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from backtalk.codecs.units.hubert_encoder import HubertConfig, HubertEncoder
from backtalk.errors import ConfigError, ModelError
from backtalk.models.tensors import check_tensors, read_tensors, refuse_what_is_no_safetensors

# From fairseq's names to those of transformers.
_RENAMES = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"^feature_extractor\.conv_layers\.0\.2\.", "feature_extractor.conv_layers.0.layer_norm."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^encoder\.pos_conv\.0\.(weight_[gv])$", r"encoder.pos_conv_embed.conv.\1"),
    (r"^encoder\.pos_conv\.1\.", "encoder.pos_conv_embed.conv."),
    (r"\.self_attn\.", ".attention."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
_CONV = "encoder.pos_conv_embed.conv"
_NORM = "encoder.pos_conv_embed.batch_norm"
_WEIGHT_NORM = (
    (f"{_CONV}.weight_g", f"{_CONV}.weight_v"),
    (f"{_CONV}.parametrizations.weight.original0", f"{_CONV}.parametrizations.weight.original1"),
)
_ONLY_TRAINED_WITH = ("mask_emb", "masked_spec_embed", "final_proj.", "label_embs_concat")
_HEAD_DIM = 64


def load_hubert_encoder(path: str | os.PathLike[str], layer: int, name: str) -> HubertEncoder:
    """The encoder in float32 on the CPU; its sizes are those of the tensors.

    Args:
        path: the file.
        layer: how many layers to run, from 1.
        name: of the model.
    Raises:
        ModelError: not a safetensors file, or its tensors are not those of a HuBERT base.
        ConfigError: the model has no such layer.
    """
    refuse_what_is_no_safetensors(Path(path), "['model']")
    tensors = _as_transformers(read_tensors(path))
    layers = sum(key.endswith(".attention.q_proj.weight") for key in tensors)
    try:
        config = _config_of(tensors)
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(f"{os.fspath(path)}: is no HuBERT base, it lacks {error}") from error
    if not 1 <= layer <= layers:
        raise ConfigError(f"layer {layer}: {name} has layers 1 to {layers}")
    encoder = HubertEncoder(config, layers, name)
    ours = _ours(tensors, layers)
    shapes = {key: tuple(tensor.shape) for key, tensor in encoder.state_dict().items()}
    check_tensors(path, ours, shapes)
    encoder.load_state_dict(ours)
    del encoder.layers[layer:]
    encoder.layer = layer
    return encoder.eval().requires_grad_(False)


def _config_of(tensors: Mapping[str, Tensor]) -> HubertConfig:
    first = "feature_extractor.conv_layers"
    count = sum(key.startswith(first) and key.endswith(".conv.weight") for key in tensors)
    kernels = tuple(tensors[f"{first}.{i}.conv.weight"].shape[2] for i in range(count))
    width, channels = tensors["feature_projection.projection.weight"].shape
    _, per_group, position_kernel = tensors[f"{_CONV}.weight"].shape
    return HubertConfig(
        channels=channels,
        kernels=kernels,
        strides=(5,) + (2,) * (count - 1),
        width=width,
        hidden=tensors["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0],
        heads=max(1, width // _HEAD_DIM),
        position_kernel=position_kernel,
        position_groups=width // per_group,
        has_position_norm=f"{_NORM}.weight" in tensors,
    )


def _as_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of either layout under the names of `transformers`, weight norm multiplied out."""
    found = {}
    has_fairseq_norm = "encoder.pos_conv.0.running_mean" in tensors
    for name, tensor in tensors.items():
        new = name.removeprefix("hubert.")
        if new.startswith(_ONLY_TRAINED_WITH) or new.endswith("num_batches_tracked"):
            continue
        for pattern, replacement in _RENAMES:
            new = re.sub(pattern, replacement, new)
        # The first of two is the batch norm; alone it is the convolution.
        new = re.sub(r"^encoder\.pos_conv\.0\.", f"{_NORM if has_fairseq_norm else _CONV}.", new)
        found[new] = tensor
    for length_name, direction_name in _WEIGHT_NORM:
        if length_name in found and direction_name in found:
            length, direction = found.pop(length_name), found.pop(direction_name)
            # Normed per tap, over all channels.
            norm = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
            found[f"{_CONV}.weight"] = direction * (length / norm)
    return found


def _ours(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Under the names of `HubertEncoder`; queries, keys and values in one."""
    left = {name: tensor.float() for name, tensor in tensors.items()}
    names = {
        "feature_extractor.conv_layers.0.layer_norm": "first_norm",
        "feature_projection.layer_norm": "conv_norm",
        "feature_projection.projection": "projection",
        _NORM: "position_norm",
        _CONV: "position_conv",
        "encoder.layer_norm": "norm",
    }
    found = {}
    for i in range(layers):
        theirs, ours = f"encoder.layers.{i}", f"layers.{i}"
        for end in ("weight", "bias"):
            parts = [f"{theirs}.attention.{part}_proj.{end}" for part in "qkv"]
            if all(part in left for part in parts):
                found[f"{ours}.qkv.{end}"] = torch.cat([left.pop(part) for part in parts])
        names |= {
            f"{theirs}.attention.out_proj": f"{ours}.out",
            f"{theirs}.layer_norm": f"{ours}.attention_norm",
            f"{theirs}.feed_forward.intermediate_dense": f"{ours}.up",
            f"{theirs}.feed_forward.output_dense": f"{ours}.down",
            f"{theirs}.final_layer_norm": f"{ours}.mlp_norm",
        }
    for name, tensor in left.items():
        stem, _, end = name.rpartition(".")
        conv = re.sub(r"^feature_extractor\.conv_layers\.(\d+)\.conv$", r"convs.\1", stem)
        found[f"{names.get(stem, conv)}.{end}"] = tensor
    if "position_norm.running_mean" in found:
        found["position_norm.num_batches_tracked"] = torch.tensor(0)
    return found
