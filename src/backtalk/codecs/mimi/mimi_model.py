"""Mimi's two halves as streaming parts: waveform to codes, and codes to waveform."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.codecs.mimi.seanet import SeanetDecoder, SeanetEncoder, SeanetState
from backtalk.nn.conv import CausalConv1d, ConvState, DepthwiseConvTranspose1d
from backtalk.nn.transformer import Transformer, TransformerState
from backtalk.nn.vector_quantizer import SplitResidualVectorQuantizer

LONGEST_STEP_FRAMES = 16
"""Most frames of one step. More would make a whole recording no faster, and a stream's memory
larger."""


@dataclass(slots=True)
class MimiState:
    """What one half remembers of every slot.

    Attributes:
        seanet: of its convolutions.
        transformer: of its transformer.
        resampling: of the convolution between transformer and codes.
    """

    seanet: SeanetState
    transformer: TransformerState
    resampling: ConvState


class MimiEncoder(nn.Module):
    """Waveform to codes, frame by frame.

    Args:
        config: sizes.
        quantizer: shared with the decoder.
    """

    def __init__(self, config: MimiConfig, quantizer: SplitResidualVectorQuantizer) -> None:
        super().__init__()
        self.config = config
        self.seanet = SeanetEncoder(config)
        self.transformer = _transformer(config)
        step = config.frame_positions
        self.downsample = CausalConv1d(
            config.width, config.width, 2 * step, step, bias=False, replicate=True
        )
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        """Whole recordings to what is to be quantized; differentiable.

        Args:
            x: float `[B, frames * frame_size]`.
        Returns:
            `[B, frames, width]`.
        """
        y: Tensor = self.downsample(self.transformer(self.seanet(x.unsqueeze(-1))))
        return y

    def alloc(self, slots: int) -> MimiState:
        """State of `slots` streams that have not begun."""
        return MimiState(
            self.seanet.alloc(slots), self.transformer.alloc(slots), self.downsample.alloc(slots)
        )

    def reset(self, state: MimiState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        self.seanet.reset(state.seanet, mask)
        self.transformer.reset(state.transformer, mask)
        self.downsample.reset(state.resampling, mask)

    def step(
        self, state: MimiState, x: Tensor, active: Tensor, num_codebooks: int | None = None
    ) -> Tensor:
        """The codes of the next frames of every slot.

        Args:
            x: float `[slots, frames * frame_size]`, 1 to `LONGEST_STEP_FRAMES` frames.
            active: bool `[slots]`; the state of other slots stays as it is.
            num_codebooks: how many codes per frame, by default all.
        Returns:
            int64 `[slots, num_codebooks, frames]`.
        Raises:
            ValueError: `x` is no whole number of frames, or more than fit a step.
        """
        latents = self.latents(state, x, active)
        return self.quantizer.encode(latents, num_codebooks or self.config.total_codebooks)

    def latents(self, state: MimiState, x: Tensor, active: Tensor) -> Tensor:
        """As `step`, but what is to be quantized: `[slots, frames, width]`."""
        if x.shape[1] == 0 or x.shape[1] % self.config.frame_size:
            raise ValueError(
                f"{x.shape[1]} samples are no whole frames of {self.config.frame_size}"
            )
        y = self.seanet.step(state.seanet, x.unsqueeze(-1), active)
        y = self.transformer.step(state.transformer, y, active)
        return self.downsample.step(state.resampling, y, active)


class MimiDecoder(nn.Module):
    """Codes to waveform, frame by frame.

    Args:
        config: sizes.
        quantizer: shared with the encoder.
    """

    def __init__(self, config: MimiConfig, quantizer: SplitResidualVectorQuantizer) -> None:
        super().__init__()
        self.quantizer = quantizer
        step = config.frame_positions
        self.upsample = DepthwiseConvTranspose1d(config.width, 2 * step, step)
        self.transformer = _transformer(config)
        self.seanet = SeanetDecoder(config)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors of whole recordings to their sound; differentiable.

        Args:
            x: `[B, frames, width]`, quantized or not.
        Returns:
            float `[B, frames * frame_size]`.
        """
        y: Tensor = self.seanet(self.transformer(self.upsample(x)))
        return y.squeeze(-1)

    def alloc(self, slots: int) -> MimiState:
        """State of `slots` streams that have not begun."""
        return MimiState(
            self.seanet.alloc(slots), self.transformer.alloc(slots), self.upsample.alloc(slots)
        )

    def reset(self, state: MimiState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool `[slots]`) is True."""
        self.upsample.reset(state.resampling, mask)
        self.transformer.reset(state.transformer, mask)
        self.seanet.reset(state.seanet, mask)

    def step(self, state: MimiState, x: Tensor, active: Tensor) -> Tensor:
        """The sound of the next frames of every slot.

        Args:
            x: codes, int64 `[slots, codebooks, frames]`, 1 to `LONGEST_STEP_FRAMES` frames, each
                code 0 to `cardinality - 1`: unchecked here, because looking would wait for the
                device.
            active: bool `[slots]`; the state of other slots stays as it is.
        Returns:
            float `[slots, frames * frame_size]`, about -1..1.
        """
        y = self.upsample.step(state.resampling, self.quantizer.decode(x), active)
        y = self.transformer.step(state.transformer, y, active)
        return self.seanet.step(state.seanet, y, active).squeeze(-1)


class MimiModel(nn.Module):
    """Both halves and the codebooks they share."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer = SplitResidualVectorQuantizer(
            config.width,
            config.codebook_dim,
            config.cardinality,
            config.semantic_codebooks,
            config.acoustic_codebooks,
        )
        self.encoder = MimiEncoder(config, self.quantizer)
        self.decoder = MimiDecoder(config, self.quantizer)


def _transformer(config: MimiConfig) -> Transformer:
    return Transformer(
        config.transformer_layers,
        config.width,
        config.hidden,
        config.heads,
        config.heads,
        config.width // config.heads,
        norm="layer",
        mlp="gelu",
        layer_scale=True,
        final_norm=False,
        window=config.window,
        longest_step=config.frame_positions * LONGEST_STEP_FRAMES,
    )
