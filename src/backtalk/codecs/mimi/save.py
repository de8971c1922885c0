"""A Mimi as a checkpoint in Kyutai's layout: the inverse of `load.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from backtalk.codecs.mimi.layouts import published_shapes
from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.parts import (
    DOWNSAMPLE,
    LAYER_NAMES,
    UPSAMPLE,
    codebook_name,
    convs,
    quantizers,
    transformers,
)
from backtalk.nn.conv import CausalConvTranspose1d


@torch.no_grad()
def mimi_tensors(model: MimiModel) -> dict[str, Tensor]:
    """All tensors of a checkpoint, in the type of the model's weights, contiguous and its own.

    Every centroid has a usage of 1, so that its running sum is the centroid itself.
    """
    found: dict[str, Tensor] = {}
    for name, conv in convs(model):
        bias = conv.linear.bias
        found[f"{name}.weight"] = conv.unpack_weight(conv.linear.weight)
        found[f"{name}.bias"] = (
            conv.unpack_bias(bias) if isinstance(conv, CausalConvTranspose1d) else bias
        )
    for name, transformer in transformers(model):
        for i, layer in enumerate(transformer.layers):
            for theirs, ours in LAYER_NAMES.items():
                found[f"{name}.{i}.{theirs}"] = layer.get_parameter(ours)
    down, up = model.encoder.downsample, model.decoder.upsample
    found[DOWNSAMPLE] = down.unpack_weight(down.linear.weight)
    found[UPSAMPLE] = up.unpack_weight(up.taps)
    for name, quantizer in quantizers(model):
        found[f"{name}.input_proj.weight"] = quantizer.input_projection.weight[..., None]
        found[f"{name}.output_proj.weight"] = quantizer.output_projection.weight[..., None]
        for level, centroids in enumerate(quantizer.centroids):
            codebook = codebook_name(name, level)
            found[f"{codebook}._initialized"] = centroids.new_ones(1)
            found[f"{codebook}.cluster_usage"] = centroids.new_ones(len(centroids))
            found[f"{codebook}.embedding_sum"] = centroids
    in_order = published_shapes(model.config)
    return {name: found[name].detach().clone().contiguous() for name in in_order}
