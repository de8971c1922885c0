"""Unit vocoders as they are trained: with weight norm."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig
from backtalk.codecs.unit_vocoder.unit_vocoder_model import UnitVocoderModel

_QUIET_LOG_MAGNITUDE = -4.0


@torch.no_grad()
def new_unit_vocoder(config: UnitVocoderConfig) -> UnitVocoderModel:
    """Random weights from PyTorch's global generator, with weight norm in the generator."""
    model = UnitVocoderModel(config)
    generator = model.generator
    if generator.synthesis is not None:
        assert generator.last.bias is not None
        generator.last.bias[: generator.synthesis.bins].fill_(_QUIET_LOG_MAGNITUDE)
    return with_weight_norm(model)


def with_weight_norm(model: UnitVocoderModel) -> UnitVocoderModel:
    """The same model, the directions and lengths of its generator's weights apart."""
    for module in list(model.generator.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(module)
    return model


@torch.no_grad()
def without_weight_norm(model: UnitVocoderModel) -> UnitVocoderModel:
    """A copy on the CPU with directions and lengths multiplied out."""
    plain = UnitVocoderModel(model.config)
    for name, weight in plain.named_parameters():
        module, _, end = name.rpartition(".")
        weight.copy_(getattr(model.get_submodule(module), end))
    return plain.eval().requires_grad_(False)
