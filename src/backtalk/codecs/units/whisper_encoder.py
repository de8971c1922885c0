"""Whisper's encoder in torch, cut off behind any layer.

CTranslate2 runs the same weights, but shows only what the last layer makes of them, and phones are
told apart better before (`backtalk train units --set layer=...` scores that).
Architecture: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.audio.log_mel import N_MELS, log_mel
from backtalk.codecs.units.ctranslate2_file import read_variables
from backtalk.errors import ConfigError, ModelError
from backtalk.nn.bidirectional import BidirectionalLayer
from backtalk.nn.norm import LayerNorm

_KERNEL = 3
_HEAD_DIM = 64
_HOP_SAMPLES = 320


class WhisperEncoder(nn.Module):
    """Two convolutions, positions, layers; a norm where none of the model's layers is left out.

    Args:
        width: D.
        layers: to run.
        positions: the most states of a window.
        has_norm: whether the last layer that is run is the model's last.
        name: of the model.
    """

    hop_samples = _HOP_SAMPLES

    def __init__(
        self, width: int, layers: int, positions: int, *, has_norm: bool, name: str
    ) -> None:
        super().__init__()
        self.name, self.layer, self.width = name, layers, width
        self.first = nn.Conv1d(N_MELS, width, _KERNEL, padding=1)
        self.second = nn.Conv1d(width, width, _KERNEL, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(positions, width))
        self.layers = nn.ModuleList(
            BidirectionalLayer(width, 4 * width, width // _HEAD_DIM, norm_first=True)
            for _ in range(layers)
        )
        self.norm = LayerNorm(width) if has_norm else None

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel spectrograms [B, 80, 2 T] to states [B, T, D].

        Every state depends on all of the spectrogram.
        """
        x = F.gelu(self.second(F.gelu(self.first(mel)))).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return x if self.norm is None else self.norm(x)

    @torch.inference_mode()
    def states(self, pcm: np.ndarray) -> np.ndarray:
        """See `SpeechEncoder`; 30 s at most."""
        mel = torch.from_numpy(log_mel(pcm)).to(self.positions.device)
        found: np.ndarray = self(mel[None])[0].cpu().numpy()
        return found


def load_whisper_encoder(path: Path, layer: int) -> WhisperEncoder:
    """The encoder of a Whisper in CTranslate2's form, in float32 on the CPU.

    Args:
        path: the folder of the model.
        layer: how many layers to run, from 1.
    Raises:
        ModelError: the file is missing or damaged.
        ConfigError: the model has no such layer.
    """
    file = path / "model.bin"
    variables = read_variables(
        file, lambda name: name.startswith("encoder/") and "num_" not in name
    )
    try:
        positions, width = variables["encoder/position_encodings/encodings"].shape
        layers = sum(name.endswith("/ffn/linear_0/weight") for name in variables)
        if not 1 <= layer <= layers:
            raise ConfigError(f"layer {layer}: {path.name} has layers 1 to {layers}")
        encoder = WhisperEncoder(width, layer, positions, has_norm=layer == layers, name=path.name)
        _fill(encoder, variables)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{file}: holds no Whisper encoder ({error}); fetch it again") from error
    return encoder.eval().requires_grad_(False)


def _fill(encoder: WhisperEncoder, variables: Mapping[str, np.ndarray]) -> None:
    tensors = {"positions": torch.from_numpy(variables["encoder/position_encodings/encodings"])}

    def take(ours: str, theirs: str) -> None:
        ends = ("gamma", "beta") if theirs.endswith("layer_norm") else ("weight", "bias")
        for end, name in zip(ends, ("weight", "bias"), strict=True):
            tensors[f"{ours}.{name}"] = torch.from_numpy(variables[f"encoder/{theirs}/{end}"])

    take("first", "conv1")
    take("second", "conv2")
    for i in range(len(encoder.layers)):
        for ours, theirs in _LAYER_NAMES.items():
            take(f"layers.{i}.{ours}", f"layer_{i}/{theirs}")
    if encoder.norm is not None:
        take("norm", "layer_norm")
    encoder.load_state_dict(tensors)


_LAYER_NAMES = {
    "attention_norm": "self_attention/layer_norm",
    "qkv": "self_attention/linear_0",
    "out": "self_attention/linear_1",
    "mlp_norm": "ffn/layer_norm",
    "up": "ffn/linear_0",
    "down": "ffn/linear_1",
}
