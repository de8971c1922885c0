"""A Mimi whose large weights have fewer bits, so that a frame reads less memory.

Only where a weight is used for two positions a frame: there its reading is the time. The
convolutions nearer to the waveform use each weight for hundreds of samples and stay as they are,
as do norms, biases and centroids.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.nn.linear import Linear, WeightFormat, rounded


class BiasedProduct(nn.Module):
    """A product without bias, and the bias.

    Args:
        product: [..., inputs] to [..., outputs].
        bias: [outputs].
    """

    def __init__(self, product: nn.Module, bias: Tensor) -> None:
        super().__init__()
        self.product = product
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        y: Tensor = self.product(x)
        return y + self.bias


def round_weights(model: MimiModel, format: WeightFormat) -> MimiModel:
    """Round the large weights of a float32 Mimi to `format`, in place.

    With `float32` nothing changes. Codes of the encoder then differ here and there from those of
    the exact weights, because a vector may lie near the border between two centroids.

    Returns:
        The same model.
    """
    if format == "float32":
        return model
    encoder, decoder = model.encoder, model.decoder
    for transformer in (encoder.transformer, decoder.transformer):
        for layer in transformer.layers:
            for name in ("attention.qkv", "attention.out", "mlp.up", "mlp.down"):
                old = layer.get_submodule(name)
                assert isinstance(old, Linear)
                layer.set_submodule(name, rounded(old.weight, format))
    for conv in (
        encoder.seanet.downs[-1],
        encoder.seanet.last,
        encoder.downsample,
        decoder.seanet.first,
        decoder.seanet.ups[0],
    ):
        product = conv.product
        assert isinstance(product, nn.Linear)
        bias = torch.zeros(product.out_features) if product.bias is None else product.bias.detach()
        conv.product = BiasedProduct(rounded(product.weight, format), bias.to(product.weight))
    return model.requires_grad_(False)
