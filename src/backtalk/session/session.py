"""What every client talks to: PCM in, timed events out, whatever the system behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import numpy as np

from backtalk.audio.pcm import is_within_full_scale
from backtalk.errors import AudioError
from backtalk.stream.events import Event


class Session(Protocol):
    """One user's connection to one system.

    Attributes:
        system: the system's id.
        sample_rate_in: Hz of what `feed` takes.
        sample_rate_out: Hz of what `ReplyAudio` carries.
    """

    system: str
    sample_rate_in: int
    sample_rate_out: int

    async def feed(self, pcm: np.ndarray) -> None:
        """Hear more of the user.

        Args:
            pcm: float32 [T], -1..1, mono at `sample_rate_in`, any length. Not-a-number and
                samples out of range are made harmless.
        Raises:
            AudioError: not a one-dimensional array of floats.
            SessionClosedError: the session is closed.
        """
        ...

    def events(self) -> AsyncIterator[Event]:
        """Events in order, until the session is closed. One reader only."""
        ...

    def played(self, turn: int, samples: int) -> None:
        """The listener reports how much of a reply has come out of the loudspeaker.

        Without reports the session assumes gapless playing from the moment of sending.
        """
        ...

    async def close(self) -> None:
        """Stop all work and end `events`. Safe to call twice."""
        ...


def checked_pcm(pcm: np.ndarray) -> np.ndarray:
    """The PCM as float32, finite and in range, or an `AudioError` that says what is wrong."""
    pcm = np.asarray(pcm)
    if pcm.ndim != 1 or pcm.dtype.kind != "f":
        raise AudioError(
            f"a session is fed mono float PCM of shape [T], not {pcm.dtype} {list(pcm.shape)}; "
            "convert with backtalk.audio.pcm"
        )
    pcm = pcm.astype(np.float32, copy=False)
    if is_within_full_scale(pcm):
        return pcm
    if not np.isfinite(pcm).all():
        pcm = np.nan_to_num(pcm, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(pcm, -1.0, 1.0)
