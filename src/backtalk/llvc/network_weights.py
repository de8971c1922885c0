"""A voice's tensors into the torch network, and back out under their published names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from backtalk.llvc.decoder import ChunkedDecoder
from backtalk.llvc.network import EncoderLayer, LlvcNetwork
from backtalk.llvc.voice_file import Voice
from backtalk.nn.norm import LayerNorm

_DECODER = "mask_gen.decoder.tf_dec_layers.0"


def network_of(voice: Voice) -> LlvcNetwork:
    """The network of a voice, float32 on the CPU, in evaluation mode."""
    network = LlvcNetwork(voice.config)
    with torch.no_grad():
        for name, view in published_views(network).items():
            view.copy_(torch.from_numpy(np.array(voice.weights[name], np.float32)))
    return network.eval()


def voice_of(network: LlvcNetwork, name: str) -> Voice:
    """The voice that a network has become."""
    weights = {
        theirs: view.detach().float().cpu().numpy().copy()
        for theirs, view in published_views(network).items()
    }
    return Voice(name, network.config, weights)


def published_views(network: LlvcNetwork) -> dict[str, Tensor]:
    """The network's own weights by their published names and in their published shapes.

    They are views: writing to them writes to the network.
    """
    views: dict[str, Tensor] = {}
    if network.prenet is not None:
        for i, block in enumerate(network.prenet.blocks):
            assert isinstance(block, nn.Conv1d)
            assert block.bias is not None
            for row, part in enumerate(("filter", "gate")):
                name = f"convnet_pre.down_convs.{i}.{part}"
                views[f"{name}.weight"] = block.weight[row : row + 1]
                views[f"{name}.bias"] = block.bias[row : row + 1]
    views["in_conv.0.weight"] = network.analysis.weight[:, None]
    views |= _pair("label_embedding.0", network.label.first)
    views |= _pair("label_embedding.1", network.label.first_norm)
    views |= _pair("label_embedding.3", network.label.second)
    views |= _pair("label_embedding.4", network.label.second_norm)
    for i, layer in enumerate(network.encoder):
        assert isinstance(layer, EncoderLayer)
        views |= _encoder_views(f"mask_gen.encoder.dcc_layers.dcc_{i}.layers", layer)
    for name, projection in (
        ("mask_gen.proj_e2d_e.0", network.to_memory),
        ("mask_gen.proj_e2d_l.0", network.to_target),
    ):
        views[f"{name}.weight"] = projection.weight[..., None]
        views[f"{name}.bias"] = projection.bias
    views["mask_gen.proj_d2e.0.weight"] = network.from_decoder.weight[:, None, None]
    views["mask_gen.proj_d2e.0.bias"] = network.from_decoder.bias
    views |= _decoder_views(network.decoder)
    views["out_conv.0.weight"] = network.synthesis.weight.T[:, None]
    return views


def _encoder_views(name: str, layer: EncoderLayer) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.0.weight", layer.depthwise.taps.T[:, None]
    yield f"{name}.0.bias", layer.depthwise.bias
    yield from _pair(f"{name}.1", layer.depthwise_norm)
    yield f"{name}.3.weight", layer.pointwise.weight[..., None]
    yield f"{name}.3.bias", layer.pointwise.bias
    yield from _pair(f"{name}.4", layer.pointwise_norm)


def _decoder_views(decoder: ChunkedDecoder) -> Iterator[tuple[str, Tensor]]:
    for part, attention in (("self_attn", decoder.hearing), ("multihead_attn", decoder.looking)):
        yield f"{_DECODER}.{part}.in_proj_weight", attention.projection.weight
        yield f"{_DECODER}.{part}.in_proj_bias", attention.projection.bias
        yield from _pair(f"{_DECODER}.{part}.out_proj", attention.out)
    yield from _pair(f"{_DECODER}.linear1", decoder.up)
    yield from _pair(f"{_DECODER}.linear2", decoder.down)
    for i, norm in enumerate(decoder.norms, 1):
        assert isinstance(norm, LayerNorm)
        yield from _pair(f"{_DECODER}.norm{i}", norm)


def _pair(name: str, part: nn.Linear | LayerNorm) -> Iterator[tuple[str, Tensor]]:
    assert part.bias is not None
    yield f"{name}.weight", part.weight
    yield f"{name}.bias", part.bias
