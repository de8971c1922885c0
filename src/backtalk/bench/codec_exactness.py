"""What rounding a codec's weights changes, on random weights and noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backtalk.codecs.mimi.mimi_model import MimiModel


@torch.inference_mode()
def compare_exactness(exact: MimiModel, rounded: MimiModel, frames: int = 30) -> dict[str, Any]:
    """Signal-to-noise ratio of latents and sound, dB, and the share of equal codes."""
    config = exact.config
    pcm = 0.1 * torch.randn(1, frames * config.frame_size, generator=torch.manual_seed(0))
    latents, their_latents = (_latents(model, pcm) for model in (exact, rounded))
    codes = exact.quantizer.encode(latents, config.total_codebooks)
    equal = (codes == exact.quantizer.encode(their_latents, config.total_codebooks)).float()
    sound, their_sound = (_decode(model, codes) for model in (exact, rounded))
    return {
        "latent_snr_db": round(_snr_db(latents, their_latents), 1),
        "sound_snr_db": round(_snr_db(sound, their_sound), 1),
        "equal_codes": {
            "first": round(float(equal[:, 0].mean()), 3),
            "of 8": round(float(equal[:, :8].mean()), 3),
        },
    }


def _latents(model: MimiModel, pcm: Tensor) -> Tensor:
    state, active = model.encoder.alloc(1), torch.tensor([True])
    pieces = torch.split(pcm, model.config.frame_size, dim=1)
    return torch.cat([model.encoder.latents(state, piece, active) for piece in pieces], dim=1)


def _decode(model: MimiModel, codes: Tensor) -> Tensor:
    state, active = model.decoder.alloc(1), torch.tensor([True])
    return torch.cat(
        [model.decoder.step(state, c, active) for c in torch.split(codes, 1, dim=2)], dim=1
    )


def _snr_db(x: Tensor, noisy: Tensor) -> float:
    return float(10 * torch.log10(x.square().sum() / (x - noisy).square().sum()))
