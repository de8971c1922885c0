"""A CSM that has learned nothing yet, ready to be trained."""

from __future__ import annotations

import torch
from torch import nn

from backtalk.csm.config import CsmConfig
from backtalk.csm.model import CsmModel
from backtalk.nn.transformer import Transformer, TransformerLayer


@torch.no_grad()
def new_csm(config: CsmConfig) -> CsmModel:
    """Random weights, from PyTorch's global generator.

    Embeddings of text and of a whole frame begin equally large. Branches begin smaller the more
    layers add up (GPT-2's rule), heads small, so that the first guesses are even.
    """
    model = CsmModel(config)
    nn.init.normal_(model.text_embeddings)
    nn.init.normal_(model.audio_embeddings, std=config.codebooks**-0.5)
    for transformer in (model.backbone, model.depth):
        _calm(transformer)
    for head in (model.first_head, *model.later_heads):
        nn.init.normal_(head.weight, std=0.02)
    return model


def _calm(transformer: Transformer) -> None:
    branches = 2 * len(transformer.layers)
    for layer in transformer.layers:
        assert isinstance(layer, TransformerLayer)
        for last in (layer.attention.out, layer.mlp.down):
            weight = last.get_parameter("weight")
            nn.init.normal_(weight, std=(weight.shape[1] * branches) ** -0.5)
