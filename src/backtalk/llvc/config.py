"""The sizes of an LLVC, and what it remembers from step to step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

SAMPLE_RATE = 16_000
"""Hz, of all published voices."""

KERNEL = 3
"""Taps of the encoder's and the pre-net's convolutions."""

HEADS = 8
LABEL_WIDTH = 512
"""Features inside the label's embedding."""

PRENET_BLOCKS = 12

Variant = Literal["llvc", "llvc_nc", "llvc_hfg"]
VARIANTS: tuple[Variant, ...] = ("llvc", "llvc_nc", "llvc_hfg")


@dataclass(frozen=True, slots=True)
class LlvcConfig:
    """Sizes of an LLVC; the defaults are those of the published `llvc_nc`.

    Attributes:
        hop: samples per frame.
        width: features of a frame.
        encoder_layers: dilated convolutions; each looks back twice as far as the one before it.
        decoder_width: features of a frame inside the decoder.
        chunk_frames: frames that the decoder sees at once; they see each other's future.
        context_frames: frames before the chunk that the decoder looks back at.
        overlap_frames: frames before its own that a frame of the output mixes in.
        prenet_blocks: gated convolutions on the waveform before all else; 0 for none.
    """

    hop: int = 16
    width: int = 512
    encoder_layers: int = 8
    decoder_width: int = 256
    chunk_frames: int = 13
    context_frames: int = 13
    overlap_frames: int = 4
    prenet_blocks: int = 0

    @property
    def chunk_size(self) -> int:
        """Samples per chunk, the least that a step can take."""
        return self.chunk_frames * self.hop

    @property
    def lookahead_samples(self) -> int:
        """Input beyond a chunk that its output needs."""
        return self.hop

    @property
    def hidden(self) -> int:
        """Features inside the decoder's feed-forward half."""
        return 2 * self.decoder_width

    @property
    def window_frames(self) -> int:
        """Frames that the decoder's attention sees."""
        return self.context_frames + self.chunk_frames

    def without_prenet(self) -> LlvcConfig:
        """The same, with the waveform going straight to the encoder."""
        return replace(self, prenet_blocks=0)


def published_config(variant: Variant) -> LlvcConfig:
    """The sizes of a published voice. `llvc_hfg` differs from `llvc` in how it was trained only."""
    return LlvcConfig(prenet_blocks=0 if variant == "llvc_nc" else PRENET_BLOCKS)


def llvc_small() -> LlvcConfig:
    """Small enough for tests: the sizes of `tests/golden/llvc_small.safetensors`."""
    return LlvcConfig(
        hop=4,
        width=16,
        encoder_layers=4,
        decoder_width=8,
        chunk_frames=3,
        context_frames=5,
        overlap_frames=2,
        prenet_blocks=3,
    )


@dataclass(frozen=True, slots=True)
class History:
    """One thing a stream remembers: the last `length` rows of something.

    Attributes:
        name: of it.
        length: rows remembered.
        width: values per row.
        rows_per_frame: rows that one frame adds.
    """

    name: str
    length: int
    width: int
    rows_per_frame: int = 1


def histories(config: LlvcConfig) -> tuple[History, ...]:
    """All that a stream remembers, the waveform as it is heard first."""
    found = []
    if config.prenet_blocks:
        reach = (KERNEL - 1) * config.prenet_blocks
        found.append(History("heard", reach, 1, config.hop))
    found.append(History("input", 2 * config.hop, 1, config.hop))
    for layer in range(config.encoder_layers):
        found.append(History(f"encoder.{layer}", (KERNEL - 1) * 2**layer, config.width))
    for attention in ("self", "cross"):
        found.append(History(attention, config.context_frames, 2 * config.decoder_width))
    reach = config.overlap_frames
    return (*found, History("output", reach, (reach + 1) * config.hop))
