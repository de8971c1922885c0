"""Mimi as a `Codec`: numpy in and out, any chunk size, any sample rate, one slot per stream.

A server that steps many streams at once uses the two halves of `mimi_model.py` instead.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backtalk.audio.resample import StreamingResampler
from backtalk.codecs.mimi.mimi_model import LONGEST_STEP_FRAMES, MimiModel
from backtalk.errors import AudioError, ConfigError


class MimiCodec:
    """A loaded Mimi.

    Args:
        model: its weights.
        num_codebooks: codes per frame that it gives; Moshi works with 8, CSM with 32.
    Raises:
        ConfigError: more codebooks than there are, or none.
    """

    def __init__(self, model: MimiModel, num_codebooks: int = 8) -> None:
        config = model.config
        if not 1 <= num_codebooks <= config.total_codebooks:
            raise ConfigError(
                f"{num_codebooks} codebooks cannot be had: give 1 to {config.total_codebooks}"
            )
        self.model = model
        self.num_codebooks = num_codebooks
        self.sample_rate = config.sample_rate
        self.frame_rate = config.frame_rate
        self.frame_size = config.frame_size
        self.cardinality = config.cardinality
        self.total_codebooks = config.total_codebooks

    def encode(self, pcm: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
        """A whole recording; the same codes as a stream of it would give.

        Args:
            pcm: float32 [T]; the last frame is filled up with silence.
            sample_rate: of `pcm` in Hz, by default Mimi's own.
        Returns:
            int64 [num_codebooks, frames].
        """
        stream = self.open_encoder(sample_rate)
        return np.concatenate([stream.push(pcm), stream.flush()], axis=1)

    def decode(self, codes: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
        """The sound of codes.

        Args:
            codes: integers [1 to total_codebooks, frames].
            sample_rate: wanted, in Hz, by default Mimi's own.
        Returns:
            float32 [frames * frame_size], or as many samples as that is at `sample_rate`.
        Raises:
            AudioError: codes of another shape, or out of range.
        """
        stream = self.open_decoder(sample_rate)
        return np.concatenate([stream.push(codes), stream.flush()])

    def open_encoder(self, sample_rate: int | None = None) -> MimiEncoderStream:
        """A new stream of waveform at `sample_rate` Hz."""
        return MimiEncoderStream(self, sample_rate or self.sample_rate)

    def open_decoder(self, sample_rate: int | None = None) -> MimiDecoderStream:
        """A new stream of codes, to waveform at `sample_rate` Hz."""
        return MimiDecoderStream(self, sample_rate or self.sample_rate)

    def check_codes(self, codes: np.ndarray) -> None:
        """Refuse what cannot be decoded.

        Raises:
            AudioError: not [codebooks, frames] of integers, or a code out of range.
        """
        if codes.ndim != 2 or not 1 <= codes.shape[0] <= self.total_codebooks:
            raise AudioError(
                f"codes of shape {codes.shape} cannot be decoded; give [codebooks, frames] with 1 "
                f"to {self.total_codebooks} codebooks"
            )
        if not np.issubdtype(codes.dtype, np.integer):
            raise AudioError(f"codes of type {codes.dtype} cannot be decoded; give integers")
        if codes.size and not (codes.min() >= 0 and codes.max() < self.cardinality):
            raise AudioError(
                f"codes from {codes.min()} to {codes.max()} cannot be decoded; each must be 0 to "
                f"{self.cardinality - 1}"
            )


class MimiEncoderStream:
    """One stream from waveform to codes; see `Codec`."""

    @torch.inference_mode()
    def __init__(self, codec: MimiCodec, sample_rate: int) -> None:
        self._codec = codec
        self._resampler = StreamingResampler(sample_rate, codec.sample_rate)
        self._part = codec.model.encoder
        self._state = self._part.alloc(1)
        self._active = _one_active(codec.model)
        self._rest = np.zeros(0, np.float32)

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [T], return the codes of the frames that are full: int64 [K, frames].

        The samples must be finite (see `audio.pcm.sanitise`): one NaN spoils the next 10 s.
        """
        return self._encode(self._resampler.push(pcm))

    def flush(self) -> np.ndarray:
        """End the stream: fill its last frame up with silence and return what is left of codes."""
        codes = self._encode(self._resampler.flush())
        if not self._rest.size:
            return codes
        padding = np.zeros(self._codec.frame_size - self._rest.size, np.float32)
        return np.concatenate([codes, self._encode(padding)], axis=1)

    @torch.inference_mode()
    def _encode(self, pcm: np.ndarray) -> np.ndarray:
        samples = np.concatenate([self._rest, pcm])
        whole = samples.size - samples.size % self._codec.frame_size
        self._rest = samples[whole:]
        codes = [np.zeros((self._codec.num_codebooks, 0), np.int64)]
        longest = LONGEST_STEP_FRAMES * self._codec.frame_size
        for at in range(0, whole, longest):
            x = torch.from_numpy(samples[at : min(at + longest, whole)]).to(self._active.device)
            step = self._part.step(self._state, x[None], self._active, self._codec.num_codebooks)
            codes.append(step[0].cpu().numpy())
        return np.concatenate(codes, axis=1)


class MimiDecoderStream:
    """One stream from codes to waveform; see `Codec`."""

    @torch.inference_mode()
    def __init__(self, codec: MimiCodec, sample_rate: int) -> None:
        self._codec = codec
        self._resampler = StreamingResampler(codec.sample_rate, sample_rate)
        self._part = codec.model.decoder
        self._state = self._part.alloc(1)
        self._active = _one_active(codec.model)

    @torch.inference_mode()
    def push(self, codes: np.ndarray) -> np.ndarray:
        """Take integers [codebooks, frames], return float32 [T].

        Raises:
            AudioError: codes of another shape, or out of range.
        """
        self._codec.check_codes(codes)
        pcm = [np.zeros(0, np.float32)]
        for at in range(0, codes.shape[1], LONGEST_STEP_FRAMES):
            piece = codes[:, at : at + LONGEST_STEP_FRAMES].astype(np.int64)
            x = torch.from_numpy(piece).to(self._active.device)
            pcm.append(self._part.step(self._state, x[None], self._active)[0].cpu().numpy())
        return self._resampler.push(np.concatenate(pcm))

    def flush(self) -> np.ndarray:
        """End the stream: what the resampler held back, float32 [T]."""
        return self._resampler.flush()


def _one_active(model: MimiModel) -> Tensor:
    return torch.ones(1, dtype=torch.bool, device=model.quantizer.semantic.centroids.device)
