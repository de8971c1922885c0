"""The converting builder: a frame of one voice in, the same frame in another voice out."""

from __future__ import annotations

from typing import Protocol

from backtalk.session.frame_system import FrameSystem


class Converter(FrameSystem, Protocol):
    """A frame-clocked system that says what it hears, in another voice; it has no text."""
