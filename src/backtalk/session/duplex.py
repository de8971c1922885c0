"""The full-duplex builder: a frame in, a frame and text out, listening and speaking at once."""

from __future__ import annotations

from typing import Protocol

from backtalk.session.frame_system import FrameSystem


class Duplex(FrameSystem, Protocol):
    """A frame-clocked system that decides by itself, at every step, what to say."""
