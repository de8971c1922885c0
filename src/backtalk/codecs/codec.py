"""What a codec is to the rest of Backtalk: waveform to codes and back, whole or streaming."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class EncoderStream(Protocol):
    """One running stream from waveform to codes."""

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [T] of any length, return the codes that are ready: int64 [K, frames]."""
        ...

    def flush(self) -> np.ndarray:
        """The stream is over: fill the last frame up with silence and return its codes."""
        ...


class DecoderStream(Protocol):
    """One running stream from codes to waveform."""

    def push(self, codes: np.ndarray) -> np.ndarray:
        """Take int64 [K, frames], return what is ready of their sound: float32 [T]."""
        ...

    def flush(self) -> np.ndarray:
        """The stream is over: return what was held back."""
        ...


class Codec(Protocol):
    """A loaded codec, shared by any number of streams.

    Attributes:
        sample_rate: Hz that it was trained on.
        frame_rate: frames per second.
        frame_size: samples per frame.
        cardinality: codes are 0 to this less one.
        num_codebooks: K, codes per frame that it gives.
        total_codebooks: the most it could give or take.
    """

    @property
    def sample_rate(self) -> int: ...
    @property
    def frame_rate(self) -> float: ...
    @property
    def frame_size(self) -> int: ...
    @property
    def cardinality(self) -> int: ...
    @property
    def num_codebooks(self) -> int: ...
    @property
    def total_codebooks(self) -> int: ...

    def encode(self, pcm: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
        """A whole recording, float32 [T] at any rate, to int64 [K, frames]."""
        ...

    def decode(self, codes: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
        """Codes, int64 [1 to total_codebooks, frames], to float32 [T] at any rate."""
        ...

    def open_encoder(self, sample_rate: int | None = None) -> EncoderStream:
        """A new stream of waveform at any rate."""
        ...

    def open_decoder(self, sample_rate: int | None = None) -> DecoderStream:
        """A new stream of codes, to waveform at any rate."""
        ...
