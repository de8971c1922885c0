"""A transformer layer in which every position sees all others, for encoders of whole recordings."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.nn.norm import LayerNorm


class BidirectionalLayer(nn.Module):
    """Attention and a GELU MLP, each with a residual and a layer norm.

    Args:
        width: D.
        hidden: features inside the MLP.
        heads: of the attention.
        norm_first: norms before attention and MLP (Whisper), or behind the sums (HuBERT).
        eps: of the norms.
    """

    def __init__(
        self, width: int, hidden: int, heads: int, *, norm_first: bool, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm_first = norm_first
        self.attention_norm = LayerNorm(width, eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = LayerNorm(width, eps)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        if self.norm_first:
            x = x + self._attend(self.attention_norm(x))
            return x + self._mlp(self.mlp_norm(x))
        x = self.attention_norm(x + self._attend(x))
        return self.mlp_norm(x + self._mlp(x))

    def _attend(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        # [B, T, 3 D] to three of [B, heads, T, D / heads].
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        attended: Tensor = self.out(y.transpose(1, 2).reshape(batch, length, width))
        return attended

    def _mlp(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.gelu(self.up(x)))
        return y
