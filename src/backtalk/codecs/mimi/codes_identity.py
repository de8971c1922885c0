"""Whether two Mimis speak the same codes: what turns sound into codes, as a hash.

The decoder is not part of it. It may be trained further, and codes still mean what they meant.
"""

from __future__ import annotations

import hashlib

import torch

from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.save import mimi_tensors

_OF_DECODER = ("decoder", "upsample")


def codes_sha256(model: MimiModel) -> str:
    """The sha256 of encoder and codebooks, 64 lower-case hex digits."""
    found = hashlib.sha256()
    for name, tensor in mimi_tensors(model).items():
        if not name.startswith(_OF_DECODER):
            found.update(name.encode())
            found.update(tensor.to("cpu", torch.float32).numpy().tobytes())
    return found.hexdigest()
