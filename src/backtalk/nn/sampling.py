"""Drawing a token from logits without asking the device for anything.

Adding Gumbel noise and taking the largest draws from the softmax (argmax of p / Exp(1) in logs).
The noise is made before the step and handed in, so that a row's draws depend on its own generator
alone, and a captured graph replays with new noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def fill_gumbel(noise: Tensor, generators: Sequence[torch.Generator | None]) -> None:
    """Draw the noise of a step.

    Args:
        noise: float32 [slots, ...], written in place.
        generators: of each row, on the device of `noise`; rows with None are left as they are.
    """
    for row, generator in zip(noise, generators, strict=True):
        if generator is not None:
            row.exponential_(generator=generator).log_().neg_()


def sample(logits: Tensor, noise: Tensor, temperature: Tensor, top_k: int | None) -> Tensor:
    """Draw one token per row.

    Args:
        logits: float [slots, V].
        noise: float32 [slots, V] from `fill_gumbel`.
        temperature: float32 [slots, 1]; 0 takes the likeliest.
        top_k: draw among the k likeliest, ties with the last of them included; None for all.
    Returns:
        int64 [slots].
    """
    logits = logits.float()
    scores = torch.addcmul(logits, noise, temperature)
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1, sorted=False).values.amin(dim=-1, keepdim=True)
        scores = scores.masked_fill_(logits < least, -torch.inf)
    return scores.argmax(dim=-1)
