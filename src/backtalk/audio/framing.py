"""Cuts a stream of chunks of any size into frames of one size."""

from __future__ import annotations

import numpy as np


class Framer:
    """One stream's framer. Any chunk schedule gives the same frames.

    Args:
        frame_size: samples per frame, at least 1.
    """

    def __init__(self, frame_size: int) -> None:
        if frame_size < 1:
            raise ValueError(f"frame_size is {frame_size}; give at least 1 sample")
        self.frame_size = frame_size
        self._rest = np.zeros(0, np.float32)

    @property
    def pending_samples(self) -> int:
        """Samples that wait for their frame to fill up."""
        return int(self._rest.size)

    def push(self, pcm: np.ndarray) -> list[np.ndarray]:
        """Take the next chunk and return the frames that are now full, oldest first.

        Args:
            pcm: float32 [T], T from 0.
        Returns:
            float32 [frame_size] each; they share no memory with the chunk.
        """
        if not self._rest.size and pcm.size == self.frame_size:  # a client on the same clock
            return [pcm.astype(np.float32)]
        samples = np.concatenate([self._rest, pcm]).astype(np.float32, copy=False)
        frames, left = divmod(samples.size, self.frame_size)
        self._rest = samples[samples.size - left :].copy()
        return list(samples[: frames * self.frame_size].reshape(frames, self.frame_size))

    def flush(self, pad: bool) -> np.ndarray:
        """End the stream; the next push begins a new one.

        Args:
            pad: fill the last frame up with silence, so that it is whole.
        Returns:
            What was left: float32 [frame_size] if padded, else shorter; [0] if nothing was left.
        """
        rest, self._rest = self._rest, np.zeros(0, np.float32)
        if pad and rest.size:
            rest = np.pad(rest, (0, self.frame_size - rest.size))
        return rest
