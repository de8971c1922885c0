"""Audio in which every frame says whose it is and which one, and shows every damage.

A frame is 20 ms of PCM16 at 24 kHz: 480 samples, 960 bytes.

    samples 0..79    32 bit stream id, 32 bit frame number, CRC-16 of both; one bit a sample,
                     most significant first, +0.5 for one and -0.5 for zero
    samples 80..479  a row of noise, chosen by stream id and frame number

A receiver that gets PCM16 back bit by bit sees every lost, repeated, reordered, foreign or changed
frame. Silence is told from damage: a system may give some before it has anything to give back.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

SAMPLE_RATE = 24000
FRAME_SAMPLES = 480
FRAME_BYTES = 2 * FRAME_SAMPLES
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE

_STAMP_BITS = 80
_STAMP_BYTES = 2 * _STAMP_BITS
_NOISE_ROWS = 256
_SILENCE = bytes(FRAME_BYTES)
_LOST_STEP = 3
"""Damaged frames in a row after which the receiver looks for the frames' new position."""


def _byte_as_levels(byte: int) -> bytes:
    return b"".join(
        struct.pack("<h", 16384 if byte >> bit & 1 else -16384) for bit in range(7, -1, -1)
    )


_LEVELS = [_byte_as_levels(byte) for byte in range(256)]
_BYTE_OF_LEVELS = {levels: byte for byte, levels in enumerate(_LEVELS)}
_NOISE = [
    row.tobytes()
    for row in np.random.default_rng(24000)
    .integers(-8000, 8000, (_NOISE_ROWS, FRAME_SAMPLES - _STAMP_BITS))
    .astype("<i2")
]


def stamped_frame(stream: int, number: int) -> bytes:
    """One frame of a stream.

    Args:
        stream: id of the session, 32 bit.
        number: of the frame, from 0, 32 bit.
    Returns:
        960 bytes of PCM16.
    """
    head = struct.pack(">II", stream, number)
    head += struct.pack(">H", binascii.crc_hqx(head, 0xFFFF))
    return b"".join([_LEVELS[byte] for byte in head]) + _noise_row(stream, number)


def read_stamp(frame: bytes) -> tuple[int, int] | None:
    """Stream and number of a frame, None if any bit of it is not as it was sent."""
    try:
        head = bytes([_BYTE_OF_LEVELS[frame[at : at + 16]] for at in range(0, _STAMP_BYTES, 16)])
    except KeyError:
        return None
    stream, number, crc = struct.unpack(">IIH", head)
    if binascii.crc_hqx(head[:8], 0xFFFF) != crc:
        return None
    if frame[_STAMP_BYTES:] != _noise_row(stream, number):
        return None
    return stream, number


def _noise_row(stream: int, number: int) -> bytes:
    return _NOISE[(stream * 2654435761 + number * 40503 >> 3) % _NOISE_ROWS]


@dataclass(slots=True)
class FrameCounts:
    """What became of the frames of one stream, or of many.

    Attributes:
        sent: frames sent.
        received: frames of this stream that came back whole, each counted once.
        lost: sent, and never came back whole.
        reordered: came after a later one.
        duplicated: came again.
        crossed: whole frames of another stream.
        damaged: frames with a changed bit, or torn ones.
        silent: frames of digital silence.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    reordered: int = 0
    duplicated: int = 0
    crossed: int = 0
    damaged: int = 0
    silent: int = 0

    def __iadd__(self, other: FrameCounts) -> FrameCounts:
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)
        return self

    @property
    def faults(self) -> int:
        """Frames that are not what they should be."""
        return self.lost + self.reordered + self.duplicated + self.crossed + self.damaged


Verdict = Literal["ok", "reordered", "duplicated", "crossed", "damaged", "silent"]


class StampReader:
    """Judges what comes back of one stream.

    Args:
        stream: id of the stream.
    """

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._counts = FrameCounts()
        self._rest = b""
        self._next = 0
        self._missing: set[int] = set()
        self._damaged_in_a_row = 0

    def push(self, pcm16: bytes) -> list[tuple[Verdict, int]]:
        """Take what came, in pieces of any size.

        Returns:
            For every frame that is whole now: what is said of it, and its number (-1 unless it is
            a frame of this stream).
        """
        data = self._rest + pcm16 if self._rest else pcm16
        at, verdicts = 0, []
        while len(data) - at >= FRAME_BYTES:
            if self._damaged_in_a_row >= _LOST_STEP:
                at = self._find_step(data, at)
                if len(data) - at < FRAME_BYTES:
                    break
            verdicts.append(self._judge(data[at : at + FRAME_BYTES]))
            at += FRAME_BYTES
        self._rest = data[at:]
        return verdicts

    def counts(self, sent: int) -> FrameCounts:
        """Everything so far, when `sent` frames were sent and no more is to come."""
        self._counts.sent = sent
        self._counts.lost = len(self._missing) + max(0, sent - self._next)
        return self._counts

    def _judge(self, frame: bytes) -> tuple[Verdict, int]:
        counts, stamp = self._counts, read_stamp(frame)
        if stamp is None:
            if frame == _SILENCE:
                counts.silent += 1
                return "silent", -1
            counts.damaged += 1
            self._damaged_in_a_row += 1
            return "damaged", -1
        self._damaged_in_a_row = 0
        stream, number = stamp
        if stream != self._stream:
            counts.crossed += 1
            return "crossed", -1
        if number >= self._next:
            self._missing.update(range(self._next, number))
            self._next = number + 1
        elif number in self._missing:
            self._missing.remove(number)
            counts.received += 1
            counts.reordered += 1
            return "reordered", number
        else:
            counts.duplicated += 1
            return "duplicated", number
        counts.received += 1
        return "ok", number

    def _find_step(self, data: bytes, at: int) -> int:
        """Where the next whole frame begins; the end of what is certainly none if there is none."""
        for start in range(at, len(data) - FRAME_BYTES + 1):
            # Sixteen bytes of levels are rare enough to make the full look worth its price.
            if data[start : start + 16] in _BYTE_OF_LEVELS and read_stamp(
                data[start : start + FRAME_BYTES]
            ):
                return start
        return max(at, len(data) - FRAME_BYTES + 1)
