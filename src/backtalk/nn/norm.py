"""Norms over the feature dimension of [..., D]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RmsNorm(nn.Module):
    """Divides by the root mean square, computed in float32 (arXiv 1910.07467)."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        if x.is_cuda:
            return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
        # On the CPU that is a dozen operations, and a frame of speech has hundreds of norms.
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        root = torch.hypot(length * x.shape[-1] ** -0.5, torch.full_like(length, self.eps**0.5))
        return x * self.weight / root


class LayerNorm(nn.Module):
    """Takes the mean away and divides by the deviation, with scale and shift."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return F.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.eps)
