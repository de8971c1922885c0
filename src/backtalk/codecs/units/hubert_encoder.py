"""HuBERT base (arXiv 2106.07447) in torch, cut off behind any layer.

Also `mhubert-base-25hz` (TWIST, arXiv 2305.13009): one more convolution, and a batch norm where the
other has weight norm. Waveforms are taken as they are, as both were trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.nn.bidirectional import BidirectionalLayer
from backtalk.nn.norm import LayerNorm

_PADDING_SAMPLES = 40  # on either side, so that there is a state for every whole hop


@dataclass(frozen=True, slots=True)
class HubertConfig:
    """Sizes; the defaults are those of HuBERT base.

    Attributes:
        channels: of the convolutions.
        kernels, strides: of the convolutions.
        width, hidden, heads: of the transformer.
        position_kernel, position_groups: of the convolution that tells positions.
        has_position_norm: a batch norm before it, as at 25 Hz.
    """

    channels: int = 512
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    width: int = 768
    hidden: int = 3072
    heads: int = 12
    position_kernel: int = 128
    position_groups: int = 16
    has_position_norm: bool = False


class HubertEncoder(nn.Module):
    """Convolutions over the waveform, positions, layers.

    Args:
        layers: to run.
        name: of the model.
    """

    def __init__(self, config: HubertConfig, layers: int, name: str) -> None:
        super().__init__()
        self.name, self.layer, self.width = name, layers, config.width
        self.hop_samples = int(np.prod(config.strides))
        inputs = [1] + [config.channels] * (len(config.kernels) - 1)
        self.convs = nn.ModuleList(
            nn.Conv1d(i, config.channels, kernel, stride, bias=False)
            for i, kernel, stride in zip(inputs, config.kernels, config.strides, strict=True)
        )
        self.first_norm = nn.GroupNorm(config.channels, config.channels)
        self.conv_norm = LayerNorm(config.channels)
        self.projection = nn.Linear(config.channels, config.width)
        self.position_norm = nn.BatchNorm1d(config.width) if config.has_position_norm else None
        self.position_conv = nn.Conv1d(
            config.width,
            config.width,
            config.position_kernel,
            padding=config.position_kernel // 2,
            groups=config.position_groups,
        )
        self.norm = LayerNorm(config.width)
        self.layers = nn.ModuleList(
            BidirectionalLayer(config.width, config.hidden, config.heads, norm_first=False)
            for _ in range(layers)
        )

    def forward(self, pcm: Tensor) -> Tensor:
        """Waveforms [B, T] to states [B, T / hop_samples, D], T a multiple of `hop_samples`.

        Every state depends on all of the waveform.
        """
        x = F.pad(pcm, (_PADDING_SAMPLES, _PADDING_SAMPLES))[:, None]
        for i, conv in enumerate(self.convs):
            x = conv(x)
            x = F.gelu(self.first_norm(x) if i == 0 else x)
        x = self.projection(self.conv_norm(x.transpose(1, 2)))
        y = x.transpose(1, 2)
        if self.position_norm is not None:
            y = self.position_norm(y)
        y = F.gelu(self.position_conv(y)[..., : x.shape[1]])
        x = self.norm(x + y.transpose(1, 2))
        for layer in self.layers:
            x = layer(x)
        return x

    @torch.inference_mode()
    def states(self, pcm: np.ndarray) -> np.ndarray:
        """See `SpeechEncoder`."""
        x = torch.from_numpy(np.ascontiguousarray(pcm, np.float32)).to(
            self.projection.weight.device
        )
        found: np.ndarray = self(x[None])[0].cpu().numpy()
        return found
