"""Unit vocoders small enough for tests, with random weights."""

from __future__ import annotations

import torch

from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig
from backtalk.codecs.unit_vocoder.unit_vocoder_model import UnitVocoderModel

PUBLISHED_SHAPE = UnitVocoderConfig(
    units=20,
    embedding=8,
    channels=16,
    rates=(5, 2, 2),
    rate_kernels=(11, 4, 4),
    block_kernels=(3, 7),
    dilations=(1, 3),
    duration_width=8,
)
WITH_SPECTRA = UnitVocoderConfig(
    units=20,
    embedding=8,
    channels=16,
    rates=(4, 2),
    rate_kernels=(8, 4),
    block_kernels=(3, 5),
    dilations=(1, 3),
    spectrum_hop=8,
    duration_width=8,
)
BOTH = (PUBLISHED_SHAPE, WITH_SPECTRA)


def small_vocoder(config: UnitVocoderConfig) -> UnitVocoderModel:
    """Random weights, larger than usual, so that far units matter too; biases are not zero."""
    torch.manual_seed(0)
    model = UnitVocoderModel(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1.5 if "bias" not in name else 3.0)
        model.generator.last.weight.mul_(0.3)
        model.durations.last.weight.mul_(4.0)
        model.durations.last.bias.fill_(1.2)
    return model.eval().requires_grad_(False)
