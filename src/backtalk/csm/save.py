"""A CSM as a checkpoint in the original layout: the inverse of `load.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from backtalk.csm.checkpoint import entries
from backtalk.csm.model import CsmModel


@torch.no_grad()
def csm_tensors(model: CsmModel) -> dict[str, Tensor]:
    """All tensors of a checkpoint, in the type of the model's weights, contiguous and its own.

    Args:
        model: its weights not rounded.
    """
    found: dict[str, Tensor] = {}
    taken: dict[str, int] = {}
    for entry in entries(model.config):
        if entry.ours == "later_heads":
            heads = [head.get_parameter("weight").t() for head in model.later_heads]
            tensor = torch.stack(heads)
        else:
            tensor = model.get_parameter(entry.ours)
            if tensor.ndim == 2:  # several may be stacked in one
                first = taken.get(entry.ours, 0)
                taken[entry.ours] = first + entry.shape[0]
                tensor = tensor[first : first + entry.shape[0]]
        found[entry.original] = tensor.detach().clone().contiguous()
    return found
