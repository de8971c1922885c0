"""Depth that follows the playback buffer: quick when sound is short, deep when there is time.

The first frames get few codes, because somebody waits for them. After that every frame gets as
many as its time allows: the frame's own length, plus a share of what is buffered above a reserve,
or minus a share of what is missing. So depth rises to full as soon as the buffer allows, and falls
again before the buffer runs out.
"""

from __future__ import annotations

from typing import Protocol

from backtalk.csm.playback import FRAME_MS, PlaybackBuffer


class FrameTimes:
    """How long a frame of N codes takes here, learnt while speaking: a line through what was seen.

    Args:
        forget: weight of the past at each new frame, so that a machine that gets busy is noticed.
    """

    def __init__(self, forget: float = 0.97) -> None:
        self._forget = forget
        self._sums = [0.0, 0.0, 0.0, 0.0, 0.0]

    def add(self, depth: int, took_ms: float) -> None:
        """A frame was made."""
        new = (1.0, depth, took_ms, depth * depth, depth * took_ms)
        self._sums = [self._forget * old + x for old, x in zip(self._sums, new, strict=True)]

    def expected_ms(self, depth: int) -> float:
        """Of the next frame; 0 before anything was seen."""
        n, x, y, xx, xy = self._sums
        if n == 0.0:
            return 0.0
        spread = n * xx - x * x
        if spread < 1e-3 * n * xx:  # one depth only: the backbone costs about as much as 9 codes
            return y / n * (9 + depth) / (9 + x / n)
        slope = max(0.0, (n * xy - x * y) / spread)
        return max(0.0, (y - slope * x) / n + slope * depth)


class DepthPolicy(Protocol):
    """Decides how many codes the next frame of a reply gets."""

    def next_depth(self) -> int:
        """Codes of the next frame."""
        ...

    def frame_took(self, depth: int, took_ms: float) -> None:
        """A frame of that depth was made."""
        ...


class FixedDepth:
    """The same depth for every frame."""

    def __init__(self, depth: int) -> None:
        self._depth = depth

    def next_depth(self) -> int:
        """Codes of the next frame."""
        return self._depth

    def frame_took(self, depth: int, took_ms: float) -> None:
        """Of no interest."""


class DepthFollowsBuffer:
    """As many codes as there is time for.

    Args:
        buffer: what the listener has left.
        full: codes of a frame when there is time.
        least: codes of the first frames, and of a frame when there is none; a quarter by default.
        first_frames: how many are made with `least` whatever happens.
        reserve_ms: sound that should always be left to play.
        share: part of the surplus spent, or of the shortage won back, per frame.
        times: what was learnt in earlier replies goes on.
    """

    def __init__(
        self,
        buffer: PlaybackBuffer,
        full: int = 32,
        least: int | None = None,
        *,
        first_frames: int = 2,
        reserve_ms: float = 160.0,
        share: float = 0.25,
        times: FrameTimes | None = None,
    ) -> None:
        self._buffer = buffer
        self._full = full
        self._least = min(least or max(1, full // 4), full)
        self._first_frames = first_frames
        self._reserve_ms, self._share = reserve_ms, share
        self._times = times or FrameTimes()
        self._frames = 0

    def next_depth(self) -> int:
        """The most codes that the next frame's time allows."""
        if self._frames < self._first_frames:
            return self._least
        surplus_ms = self._buffer.left_ms - self._reserve_ms
        allowed_ms = FRAME_MS + self._share * surplus_ms
        for depth in range(self._full, self._least, -1):
            if self._times.expected_ms(depth) <= allowed_ms:
                return depth
        return self._least

    def frame_took(self, depth: int, took_ms: float) -> None:
        """A frame of that depth was made."""
        self._frames += 1
        self._times.add(depth, took_ms)
