"""HiFi-GAN's judges of waveforms (arXiv 2010.05646, section 2.2), with the width free.

Period judges fold the sound into rows of a few samples and look down the columns; scale judges look
at the sound itself, and at coarser copies of it.

Narrow judges with PyTorch's initial weights are blind: every layer makes the sound softer, the
verdict is the same for any, and thousands of steps go by before they tell made speech from real. So
weights begin such that layers keep the level, which is brought from that of speech to about 1. (In
the first scale spectral norm undoes that.)
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

PERIODS = (2, 3, 5, 7, 11)

_SLOPE = 0.1
_LOUDER = 10.0
_PERIOD_CHANNELS = (32, 128, 512, 1024, 1024)
_SCALE_CHANNELS = (128, 128, 256, 512, 1024, 1024, 1024)
_SCALE_KERNELS = (15, 41, 41, 41, 41, 41, 5)
_SCALE_STRIDES = (1, 2, 2, 4, 4, 1, 1)
_SCALE_GROUPS = (1, 4, 16, 16, 16, 16, 1)


class PeriodDiscriminator(nn.Module):
    """One period.

    Args:
        period: samples per row.
        divisor: of the published numbers of channels.
    """

    def __init__(self, period: int, divisor: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, *(max(1, channels // divisor) for channels in _PERIOD_CHANNELS)]
        strides = (3, 3, 3, 3, 1)
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(i, o, (5, 1), (stride, 1), (2, 0)))
            for i, o, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.last = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, pcm: Tensor) -> list[Tensor]:
        """What every convolution makes of float [B, T], the verdict last."""
        missing = -pcm.shape[1] % self.period
        x = F.pad(pcm[:, None], (0, missing), "reflect")
        x = x.view(*x.shape[:2], -1, self.period)
        return _seen(self.convs, self.last, x)


class ScaleDiscriminator(nn.Module):
    """One scale.

    Args:
        divisor: of the published numbers of channels.
        is_first: the first scale has spectral norm instead of weight norm.
    """

    def __init__(self, divisor: int, *, is_first: bool) -> None:
        super().__init__()
        norm = spectral_norm if is_first else weight_norm
        widths = [1, *(max(1, channels // divisor) for channels in _SCALE_CHANNELS)]
        self.convs = nn.ModuleList()
        for i, (kernel, stride, groups) in enumerate(
            zip(_SCALE_KERNELS, _SCALE_STRIDES, _SCALE_GROUPS, strict=True)
        ):
            inputs, outputs = widths[i], widths[i + 1]
            # Narrow layers cannot be cut into as many groups.
            groups = math.gcd(groups, inputs, outputs)
            conv = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
            self.convs.append(norm(conv))
        self.last = norm(nn.Conv1d(widths[-1], 1, 3, padding=1))

    def forward(self, pcm: Tensor) -> list[Tensor]:
        """What every convolution makes of float [B, T], the verdict last."""
        return _seen(self.convs, self.last, pcm[:, None])


class WaveformDiscriminators(nn.Module):
    """All periods and some scales.

    Args:
        divisor: of the published numbers of channels; 1 for 71 million weights.
        scales: 3 as published. Long kernels in groups make them the slower half on a CPU.
    """

    def __init__(self, divisor: int, scales: int) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, divisor) for period in PERIODS)
        self.scales = nn.ModuleList(
            ScaleDiscriminator(divisor, is_first=scale == 0) for scale in range(scales)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                _keep_level(module)

    def forward(self, pcm: Tensor) -> list[list[Tensor]]:
        """What every judge sees in float [B, T]."""
        pcm = _LOUDER * pcm
        seen = [judge(pcm) for judge in self.periods]
        for scale, judge in enumerate(self.scales):
            if scale:
                pcm = F.avg_pool1d(pcm[:, None], 4, 2, 2)[:, 0]
            seen.append(judge(pcm))
        return seen


@torch.no_grad()
def _keep_level(conv: nn.Conv1d | nn.Conv2d) -> None:
    weight = torch.empty_like(conv.weight)
    conv.weight = nn.init.kaiming_normal_(weight, _SLOPE)  # the norm takes it apart
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)


def _seen(convs: nn.ModuleList, last: nn.Module, x: Tensor) -> list[Tensor]:
    found = []
    for conv in convs:
        x = F.leaky_relu(conv(x), _SLOPE)
        found.append(x)
    return [*found, last(x)]
