"""Frames that show what happened to them."""

from __future__ import annotations

import numpy as np
import pytest

from backtalk.bench.stamped_audio import (
    FRAME_BYTES,
    FrameCounts,
    StampReader,
    read_stamp,
    stamped_frame,
)

STREAM = 0xDEADBEEF


def counted(*frames: bytes, sent: int = 8, piece_bytes: int = 700) -> FrameCounts:
    reader, data = StampReader(STREAM), b"".join(frames)
    for at in range(0, len(data), piece_bytes):
        reader.push(data[at : at + piece_bytes])
    return reader.counts(sent)


def frames(count: int = 8, stream: int = STREAM) -> list[bytes]:
    return [stamped_frame(stream, n) for n in range(count)]


@pytest.mark.parametrize("stream", [0, 1, STREAM, 2**32 - 1])
@pytest.mark.parametrize("number", [0, 1, 1000, 2**32 - 1])
def test_a_frame_says_whose_it_is_and_which_one(stream: int, number: int) -> None:
    frame = stamped_frame(stream, number)
    assert len(frame) == FRAME_BYTES
    assert read_stamp(frame) == (stream, number)


def test_frames_of_one_stream_differ_from_each_other_and_from_their_neighbours() -> None:
    noise = {frame[160:] for frame in frames(100)} | {f[160:] for f in frames(100, STREAM + 1)}
    assert len(noise) > 100


@pytest.mark.parametrize("piece_bytes", [1, 2, 959, 960, 961, 100_000])
def test_what_comes_back_whole_has_no_faults_however_it_was_cut(piece_bytes: int) -> None:
    counts = counted(*frames(), piece_bytes=piece_bytes)
    assert (counts.received, counts.faults) == (8, 0)


def test_every_flipped_bit_is_damage() -> None:
    rng = np.random.default_rng(0)
    for bit in [*range(0, 1280, 7), *rng.integers(1280, 8 * FRAME_BYTES, 200)]:
        frame = bytearray(stamped_frame(STREAM, 3))
        frame[bit // 8] ^= 1 << bit % 8
        assert read_stamp(bytes(frame)) is None, bit


def test_a_damaged_frame_is_damaged_and_lost() -> None:
    sound = frames()
    sound[4] = sound[4][:500] + b"\x00\x01" + sound[4][502:]
    counts = counted(*sound)
    assert (counts.received, counts.damaged, counts.lost) == (7, 1, 1)
    assert (counts.reordered, counts.duplicated, counts.crossed) == (0, 0, 0)


@pytest.mark.parametrize("gone", [0, 3, 7])
def test_a_frame_that_never_comes_is_lost(gone: int) -> None:
    sound = frames()
    del sound[gone]
    counts = counted(*sound)
    assert (counts.lost, counts.faults) == (1, 1)


def test_a_frame_that_comes_again_is_duplicated() -> None:
    sound = frames()
    counts = counted(*sound[:5], sound[2], *sound[5:])
    assert (counts.received, counts.duplicated, counts.faults) == (8, 1, 1)


def test_a_frame_that_comes_late_is_reordered_and_not_lost() -> None:
    sound = frames()
    sound[3], sound[4] = sound[4], sound[3]
    counts = counted(*sound)
    assert (counts.received, counts.reordered, counts.faults) == (8, 1, 1)


def test_a_frame_of_somebody_else_is_crossed() -> None:
    sound = frames()
    counts = counted(*sound[:3], stamped_frame(7, 3), *sound[3:])
    assert (counts.received, counts.crossed, counts.faults) == (8, 1, 1)


def test_silence_is_no_damage() -> None:
    counts = counted(bytes(3 * FRAME_BYTES), *frames())
    assert (counts.received, counts.silent, counts.faults) == (8, 3, 0)


@pytest.mark.parametrize("torn_bytes", [1, 2, 500, 959])
def test_after_bytes_went_missing_the_frames_are_found_again(torn_bytes: int) -> None:
    sound = b"".join(frames(40))
    torn = sound[: 10 * FRAME_BYTES + 100] + sound[10 * FRAME_BYTES + 100 + torn_bytes :]
    counts = counted(torn, sent=40)
    assert counts.damaged in (3, 4)
    assert counts.received >= 40 - 5
    assert counts.received + counts.lost == 40


def test_counts_of_many_streams_add_up() -> None:
    total = FrameCounts()
    total += counted(*frames()[:6])
    total += counted(*frames())
    assert (total.sent, total.received, total.lost) == (16, 14, 2)
