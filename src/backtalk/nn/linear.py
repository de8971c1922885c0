"""Matrix products without bias, with weights in 32, 16, 8 or 4 bits.

At one position per step a product is as fast as its weight can be read, so the bits of the weight
are the time of the step. Activations keep their type; only weights are rounded.

CPU kernels are PyTorch's `_weight_int8pack_mm` and `_weight_int4pack_mm_for_cpu`, CUDA's
`_weight_int4pack_mm`; they compute in bfloat16.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WeightFormat = Literal["float32", "bfloat16", "int8", "int4"]
WEIGHT_FORMATS: tuple[WeightFormat, ...] = ("float32", "bfloat16", "int8", "int4")

INT4_GROUP = 64
"""Inputs that share a scale and an offset."""

ROUNDED_ROWS = 128


class Linear(nn.Module):
    """y = x W^T, with the weight in the type it was given.

    Args:
        inputs, outputs: features.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.normal_(self.weight, std=inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        if x.dtype == self.weight.dtype:
            return F.linear(x, self.weight)
        return F.linear(x.to(self.weight.dtype), self.weight).to(x.dtype)


class Int8Linear(nn.Module):
    """A weight of 8 bits with one scale per output; off by at most half a step of it.

    Args:
        weight: float [outputs, inputs].
        bias: float [outputs], added unrounded; None for none.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        weight = weight.float()
        scale = weight.abs().amax(dim=1).clamp_(min=1e-12) / 127.0
        scale = scale.bfloat16()  # as the kernel reads it, so that rounding is done against it
        self.levels: Tensor
        self.scale: Tensor
        levels = (weight / scale.float()[:, None]).round_().clamp_(-127, 127).to(torch.int8)
        self.register_buffer("levels", levels)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        if rows.is_cuda:
            y = (rows @ self.levels.t().to(rows.dtype)) * self.scale
        else:
            y = torch.ops.aten._weight_int8pack_mm(rows, self.levels, self.scale)
        y = y.view(*x.shape[:-1], -1).to(x.dtype)
        return y if self.bias is None else y + self.bias


class Int4Linear(nn.Module):
    """A weight of 4 bits with a scale and an offset per `INT4_GROUP` inputs.

    Off by at most half a step, a 15th of the group's range, and the offset's rounding to bfloat16.

    Args:
        weight: float [outputs, inputs], inputs a multiple of `INT4_GROUP`, outputs of 16.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.outputs = weight.shape[0]
        # A block of rows at a time: the full size has one and a half billion weights to round.
        blocks = [_levels_of(rows) for rows in torch.split(weight, ROUNDED_ROWS)]
        levels, scale_offset = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        self.levels: Tensor
        self.scale_offset: Tensor
        self.register_buffer("levels", _pack_int4(levels))
        self.register_buffer("scale_offset", scale_offset.transpose(0, 1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        ops = torch.ops.aten
        multiply = ops._weight_int4pack_mm if rows.is_cuda else ops._weight_int4pack_mm_for_cpu
        y = multiply(rows, self.levels, INT4_GROUP, self.scale_offset)
        return y.view(*x.shape[:-1], self.outputs).to(x.dtype)


def _levels_of(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Int32 [rows, inputs] of 0..15, and bfloat16 [rows, groups, 2] of scales and offsets."""
    groups = torch.unflatten(weight.float(), 1, (-1, INT4_GROUP))
    low, high = groups.amin(dim=-1), groups.amax(dim=-1)
    scale = ((high - low) / 15.0).clamp_(min=1e-12).bfloat16()
    middle = (low + 8.0 * scale.float()).bfloat16()  # the kernel adds scale * (level - 8)
    levels = (groups - middle.float()[..., None]).div_(scale.float()[..., None])
    levels = levels.round_().add_(8.0).clamp_(0, 15).flatten(1).to(torch.int32)
    return levels, torch.stack((scale, middle), dim=-1)


def _pack_int4(levels: Tensor) -> Tensor:
    """Int32 [outputs, inputs] of 0..15 in the order that the device's kernel reads."""
    if levels.is_cuda:
        pairs = (levels[:, ::2] << 4 | levels[:, 1::2]).to(torch.uint8)
        return torch.ops.aten._convert_weight_to_int4pack(pairs, 8)
    return torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, 1)


def rounded(weight: Tensor, format: WeightFormat) -> nn.Module:
    """A linear layer with this weight in that format.

    Args:
        weight: float [outputs, inputs] on the device it will be used on.
        format: a weight that does not fit `int4`'s multiples gets `int8`.
    """
    outputs, inputs = weight.shape
    if format == "int4" and inputs % INT4_GROUP == 0 and outputs % 16 == 0:
        return Int4Linear(weight)
    if format in ("int8", "int4"):
        return Int8Linear(weight)
    with torch.device("meta"):
        linear = Linear(inputs, outputs)
    dtype = torch.bfloat16 if format == "bfloat16" else torch.float32
    linear.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    return linear
