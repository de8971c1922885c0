"""A Mimi that has learned nothing yet, ready to be trained."""

from __future__ import annotations

import torch
from torch import nn

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.parts import convs
from backtalk.nn.transformer import TransformerLayer

_LAYER_SCALE = 0.01
# An ELU passes on about 0.66 of the mean square of a normal signal.
_ELU_GAIN = 0.66**-0.5
_QUIET = 0.1
_QUIET_SPECTRUM = -2.0  # its logarithm
_SPECTRUM_GAIN = 0.3


@torch.no_grad()
def new_mimi(config: MimiConfig) -> MimiModel:
    """Random weights, from PyTorch's global generator.

    A signal keeps about its size from layer to layer; residual branches begin small, transformers
    as the identity and the output quiet. Other biases are zero, which makes the copies of a
    transposed convolution's bias equal (`nn/conv.py` keeps them so).
    """
    model = MimiModel(config)
    for name, conv in convs(model):
        gain = _ELU_GAIN * (0.5 if name.endswith("block.3.conv.conv") else 1.0)
        nn.init.normal_(conv.linear.weight, std=gain * conv.linear.in_features**-0.5)
        nn.init.zeros_(conv.linear.bias)
    last = model.decoder.seanet.last.linear
    if config.spectrum_hop:
        last.weight.mul_(_SPECTRUM_GAIN)
        last.bias[: config.inputs] = _QUIET_SPECTRUM
    else:
        last.weight.mul_(_QUIET)
    model.decoder.upsample.taps[0].fill_(1.0)  # a frame is held until the next
    for module in model.modules():
        if isinstance(module, TransformerLayer):
            assert module.attention_scale is not None
            assert module.mlp_scale is not None
            module.attention_scale.fill_(_LAYER_SCALE)
            module.mlp_scale.fill_(_LAYER_SCALE)
    return model
