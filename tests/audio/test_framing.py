import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.audio.framing import Framer
from backtalk.stream.check import check_schedules


class FlatFramer:
    """A framer whose frames are laid end to end, for the schedule checker."""

    def __init__(self, frame_size, pad):
        self.framer = Framer(frame_size)
        self.pad = pad

    def push(self, pcm):
        return np.concatenate([np.zeros(0, np.float32), *self.framer.push(pcm)])

    def flush(self):
        return self.framer.flush(self.pad)


@pytest.mark.parametrize("frame_size", [1, 7, 160, 512, 5_000])
@pytest.mark.parametrize("pad", [True, False])
def test_any_chunk_schedule_gives_the_same_frames(frame_size, pad):
    pcm = np.arange(2_000, dtype=np.float32)
    left = -pcm.size % frame_size if pad else 0
    check_schedules(
        lambda: FlatFramer(frame_size, pad), pcm, offline=np.pad(pcm, (0, left)), atol=0.0
    )


@given(st.integers(1, 50), st.lists(st.integers(0, 120), max_size=20))
def test_every_frame_is_full_and_no_sample_is_lost(frame_size, schedule):
    framer = Framer(frame_size)
    at = 0
    frames = []
    for size in schedule:
        frames += framer.push(np.arange(at, at + size, dtype=np.float32))
        at += size
        assert framer.pending_samples < frame_size
    assert all(frame.shape == (frame_size,) for frame in frames)
    rest = framer.flush(pad=False)
    assert np.concatenate([*frames, rest]).tolist() == list(range(at))


def test_a_padded_flush_fills_the_last_frame_with_silence():
    framer = Framer(4)
    framer.push(np.ones(6, np.float32))
    assert framer.flush(pad=True).tolist() == [1, 1, 0, 0]
    assert framer.flush(pad=True).size == 0


def test_a_frame_does_not_change_when_the_callers_buffer_does():
    framer = Framer(2)
    chunk = np.ones(5, np.float32)
    frames = framer.push(chunk)
    chunk[:] = 9
    assert [frame.tolist() for frame in frames] == [[1, 1], [1, 1]]
    assert framer.flush(pad=False).tolist() == [1]


def test_a_frame_size_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Framer(0)
