"""Windows that make an encoder that sees everything usable on a running stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backtalk.audio.resample import StreamingResampler
from backtalk.codecs.units.speech_encoder import SAMPLE_RATE
from backtalk.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Windows:
    """A recording is cut into blocks; each is encoded with some sound before and after it.

    Before a recording and behind it there is silence, so every block lies at the same place of its
    window and what a unit means does not depend on when it is said. Whole recordings and streams
    are cut the same way, so they have the same units.

    Attributes:
        block: units per block.
        before, after: units that are encoded with it, and thrown away.
    """

    block: int
    before: int
    after: int

    def __post_init__(self) -> None:
        """Refuse what is no window.

        Raises:
            ConfigError: a length is negative, or the block empty.
        """
        if self.block < 1 or self.before < 0 or self.after < 0:
            raise ConfigError(
                f"windows of {self.before} + {self.block} + {self.after} units: the block must be "
                "1 or more, the others 0 or more"
            )

    @property
    def size(self) -> int:
        """Units of a window."""
        return self.before + self.block + self.after


class BlockStream:
    """One stream of waveform, encoded block by block, each when what follows it has been heard.

    Args:
        windows: how to cut.
        hop_samples: samples per unit at 16 kHz.
        encode: of a window, float32 [windows.size * hop_samples], its block: [windows.block, ...].
        empty: what no block at all is encoded as: [0, ...].
        sample_rate: Hz of what is pushed.
    """

    def __init__(
        self,
        windows: Windows,
        hop_samples: int,
        encode: Callable[[np.ndarray], np.ndarray],
        empty: np.ndarray,
        sample_rate: int = SAMPLE_RATE,
    ) -> None:
        self._windows, self._hop = windows, hop_samples
        self._encode, self._empty = encode, empty
        self._resampler = StreamingResampler(sample_rate, SAMPLE_RATE)
        self._held = self._silence(windows.before)

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take float32 [T], return the blocks that are ready: [N, ...]."""
        self._held = np.concatenate([self._held, self._resampler.push(pcm)])
        return self._blocks(len(self._held) // self._hop - self._windows.size)

    def flush(self) -> np.ndarray:
        """End the stream, its last unit filled up with silence, and return what is left."""
        self._held = np.concatenate([self._held, self._resampler.flush()])
        left = -(-len(self._held) // self._hop) - self._windows.before
        self._held = np.concatenate([self._held, self._silence(self._windows.size)])
        return self._blocks(left - 1)[:left]

    def _blocks(self, last: int) -> np.ndarray:
        """All that begin up to `last` units from where the next one begins; then forget them."""
        windows = self._windows
        found = [self._empty]
        for at in range(0, last + 1, windows.block):
            window = self._held[at * self._hop : (at + windows.size) * self._hop]
            found.append(self._encode(window))
        self._held = self._held[(len(found) - 1) * windows.block * self._hop :]
        return np.concatenate(found)

    def _silence(self, units: int) -> np.ndarray:
        return np.zeros(units * self._hop, np.float32)


def encode_whole(stream: BlockStream, pcm: np.ndarray) -> np.ndarray:
    """What a new stream makes of a whole recording, float32 [T]."""
    return np.concatenate([stream.push(pcm), stream.flush()])
