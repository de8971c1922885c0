"""Other implementations of Mimi as contestants, where they are installed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backtalk.bench.codec import Contestant
from backtalk.codecs.mimi.config import MimiConfig
from backtalk.codecs.mimi.layouts import to_transformers

RUSTYMIMI_CODEBOOKS = 8
"""Not to be chosen there."""


def open_references(tensors: Mapping[str, Tensor], num_codebooks: int) -> list[Contestant]:
    """Those of rustymimi and transformers that are installed, on the same weights.

    Args:
        tensors: in Kyutai's layout.
        num_codebooks: codes per frame; rustymimi takes part only with 8.
    """
    from safetensors.torch import save_file

    found = []
    with tempfile.TemporaryDirectory() as folder:
        if find_spec("rustymimi") and num_codebooks == RUSTYMIMI_CODEBOOKS:
            file = Path(folder) / "kyutai.safetensors"
            save_file(dict(tensors), file)
            found.append(_rustymimi(file))
        if find_spec("transformers"):
            theirs = to_transformers(tensors, MimiConfig())
            found.append(_transformers(theirs, Path(folder), num_codebooks))
    return found


def _rustymimi(file: Path) -> Contestant:
    import rustymimi

    tokenizer: Any = rustymimi.Tokenizer(str(file))
    return Contestant(
        "rustymimi",
        lambda pcm: tokenizer.encode_step(pcm[None, None]),
        lambda codes: tokenizer.decode_step(codes[None, :, None].astype(np.uint32)),
    )


def _transformers(tensors: Mapping[str, Tensor], folder: Path, num_codebooks: int) -> Contestant:
    """Its encoder streams; its decoder keeps the transformer's past, but no convolution's."""
    import transformers
    from safetensors.torch import save_file

    transformers.MimiConfig(frame_rate=12.5).save_pretrained(folder)
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    model: Any = transformers.MimiModel.from_pretrained(folder).eval()
    encoding: dict[str, Any] = {"padding_cache": None, "encoder_past_key_values": None}
    decoding: dict[str, Any] = {"decoder_past_key_values": None}

    @torch.inference_mode()
    def encode(pcm: np.ndarray) -> Any:
        x = torch.from_numpy(pcm)[None, None]
        result = model.encode(x, num_quantizers=num_codebooks, use_streaming=True, **encoding)
        for name in encoding:
            encoding[name] = getattr(result, name)
        return result.audio_codes

    @torch.inference_mode()
    def decode(codes: np.ndarray) -> Any:
        result = model.decode(torch.from_numpy(codes)[None, :, None], **decoding)
        decoding["decoder_past_key_values"] = result.decoder_past_key_values
        return result.audio_values

    return Contestant("transformers", encode, decode)
