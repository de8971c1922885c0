"""The network behind the watermark: small changes of level below 2 kHz, and how to see them again.

It looks at the levels of a spectrum, in decibels scaled to about 0..1. The encoder says by how
much to raise or lower each bin, the decoder how sure it is that somebody did. There is no message
and no key: a recording is marked or it is not.

Source: https://github.com/resemble-ai/Perth (perth_net_implicit), MIT. Deviates: the change alone
is turned back into sound, so that everything the mark does not touch stays as it was.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 32_000
FFT_SIZE, HOP_SIZE = 2048, 320
MARKED_BINS = 128
HIDDEN = 256

FLOOR_DB, SCALE_DB = -180.0, 195.0
"""What a level of 0 is, and how many decibels lie between 0 and 1."""

QUIET_SHARE = 0.05
"""Frames below this share of the loudest one's summed level are neither marked nor looked at."""

SPEEDS = {"slow": 1.25, "normal": 1.0, "fast": 0.75}
"""How much the decoder stretches time, to recognise a recording that plays at another speed."""


class PerthNet(nn.Module):
    """Encoder and decoder; parameters are named as in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.layers = _convolutions(MARKED_BINS)
        self.decoder = nn.Module()
        for speed in SPEEDS:
            self.decoder.add_module(f"{speed}_layers", _convolutions(2))

    def change(self, pcm: Tensor) -> Tensor:
        """What to add to a recording to mark it: float32 [T] at 32 kHz to the same shape."""
        spectrum = _spectrum(pcm)
        level = _level(spectrum)
        raised = self.encoder.get_submodule("layers")(level[None, :MARKED_BINS])[0]
        raised_db = raised * _is_loud(level) * SCALE_DB
        change = torch.zeros_like(spectrum)
        change[:MARKED_BINS] = spectrum[:MARKED_BINS] * (10 ** (raised_db / 20) - 1)
        window = torch.hann_window(FFT_SIZE, device=pcm.device)
        return torch.istft(change, FFT_SIZE, HOP_SIZE, window=window, length=pcm.shape[0])

    def confidence(self, pcm: Tensor) -> Tensor:
        """How sure it is of a mark, about 0 (silence: 0) to about 1: float32 [T], 32 kHz, to []."""
        level = _level(_spectrum(pcm))
        is_loud, marked = _is_loud(level)[None, None], level[None, :MARKED_BINS]
        sure, weight = [], []
        for speed, stretch in SPEEDS.items():
            frames = int(level.shape[1] * stretch)
            stretched = F.interpolate(marked, size=frames, mode="linear", align_corners=True)
            counted = F.interpolate(is_loud, size=frames)
            out = self.decoder.get_submodule(f"{speed}_layers")(stretched)
            mean = (out * counted).sum(2) / counted.sum(2).clip(min=1)
            weight.append(mean[0, 0])
            sure.append(mean[0, 1])
        return torch.stack(sure) @ torch.stack(weight).softmax(0)


def _convolutions(features_out: int) -> nn.Sequential:
    """Seven convolutions over time, the middle ones 7 frames wide; [1, 128, frames] goes in."""
    widths = [MARKED_BINS, *[HIDDEN] * 6, features_out]
    layers = []
    for at, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        size = 7 if 0 < at < 6 else 1
        conv = nn.Conv1d(before, after, size, padding=size // 2)
        parts: list[tuple[str, nn.Module]] = [("conv", conv)]
        if at < 6:
            parts.append(("act", nn.LeakyReLU()))
        layers.append(nn.Sequential(OrderedDict(parts)))
    return nn.Sequential(*layers)


def _spectrum(pcm: Tensor) -> Tensor:
    """Complex [1025, frames] of float32 [T], T more than 1024."""
    window = torch.hann_window(FFT_SIZE, device=pcm.device)
    return torch.stft(pcm, FFT_SIZE, HOP_SIZE, window=window, return_complex=True)


def _level(spectrum: Tensor) -> Tensor:
    level_db = 20 * spectrum.abs().clip(10 ** (FLOOR_DB / 20)).log10()
    return (level_db - FLOOR_DB) / SCALE_DB


def _is_loud(level: Tensor) -> Tensor:
    """1 where a frame counts and 0 where it is quiet: [frames]."""
    summed = level.sum(0)
    return (summed > QUIET_SHARE * summed.max()).float()
