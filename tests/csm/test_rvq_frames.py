"""The timer of CSM's frames: real frames, of as many conversations as asked for."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from backtalk.bench.rvq_frames import FrameTimer, read_bytes  # noqa: E402
from backtalk.csm.config import csm_tiny  # noqa: E402
from backtalk.csm.load import random_csm  # noqa: E402


@pytest.mark.parametrize("slots", [1, 3])
def test_frames_of_every_depth_are_timed(slots: int) -> None:
    model = random_csm(0, config=csm_tiny(), weights="float32")
    few, many = FrameTimer(model, slots).measure([2, 8], rounds=3)
    assert (few.depth, many.depth) == (2, 8)
    assert len(few.frame_ms) == len(many.frame_ms) == 3
    assert all(0 < ms < 1000 for ms in (*few.frame_ms, *many.frame_ms))
    assert few.read_bytes == read_bytes(model, 2) < many.read_bytes
    assert few.as_dict()["n"] == 3
