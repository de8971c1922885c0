"""What the backbone hears of codebooks that were not written, when a frame has only N of them.

The backbone was trained on the sum of all of a frame's code embeddings. With N of them the sum is
of another size and place than any it has seen. `truncate` leaves it so, as i-LAVA does (arXiv
2509.20971). `mean` adds what the missing codebooks add on average. `zero` adds the embedding of
code 0, which is part of the end-of-speech frame: an ablation that shows how much the choice
matters. What any of them does to real speech has to be measured with real weights.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from backtalk.csm.model import CsmModel
from backtalk.errors import ConfigError

Feedback = Literal["truncate", "mean", "zero"]
FEEDBACKS: tuple[Feedback, ...] = ("truncate", "mean", "zero")

Padding = Literal["none", "mean", "repeat"]
PADDINGS: tuple[Padding, ...] = ("none", "mean", "repeat")


def feedback_fill(
    model: CsmModel, feedback: Feedback, frequency: Tensor | None = None
) -> Tensor | None:
    """What to add to a frame of N codes, for every N.

    Args:
        feedback: see the module.
        frequency: float [codebooks, card], how often each code occurs in speech; evenly if unknown.
    Returns:
        float32 [codebooks + 1, D], row N for frames of N codes; None where nothing is added.
    Raises:
        ConfigError: no such feedback.
    """
    if feedback not in FEEDBACKS:
        raise ConfigError(f"feedback {feedback!r} is none of {', '.join(FEEDBACKS)}")
    if feedback == "truncate":
        return None
    config = model.config
    tables = model.audio_embeddings.detach().view(config.codebooks, config.audio_vocab, -1)
    if feedback == "zero":
        each = tables[:, 0].float()
    elif frequency is None:
        each = tables[:, : config.card].float().mean(dim=1)
    else:
        share = (frequency / frequency.sum(dim=1, keepdim=True)).to(tables.device)
        each = torch.einsum("kc,kcd->kd", share, tables[:, : config.card].float())
    from_here_on = each.flip(0).cumsum(0).flip(0)
    return torch.cat((from_here_on, torch.zeros_like(each[:1])))


def pad_codes(codes: Tensor, codebooks: int, padding: Padding) -> Tensor:
    """Frames of N codes made up to all codebooks for the codec, as i-LAVA's padding trial did.

    Codes are no quantities, so their mean is a code of no meaning: `mean` and `repeat` exist to
    repeat that trial. `none` lets the codec decode N codebooks, which it was trained for.

    Args:
        codes: int64 [..., N, T].
    Returns:
        int64 [..., codebooks, T], or `codes` itself.
    """
    depth = codes.shape[-2]
    if padding == "none" or depth == codebooks:
        return codes
    if padding == "mean":
        mean = codes.double().mean(dim=-2, keepdim=True).round().long()
        filler = mean.expand(*codes.shape[:-2], codebooks - depth, codes.shape[-1])
        return torch.cat((codes, filler), dim=-2)
    rows = torch.arange(codebooks, device=codes.device) % depth
    return codes.index_select(-2, rows)
