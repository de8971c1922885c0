"""Depth that follows the playback buffer, on a clock of the test's own."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from backtalk.csm.depth_policy import (  # noqa: E402
    DepthFollowsBuffer,
    DepthPolicy,
    FixedDepth,
    FrameTimes,
)
from backtalk.csm.playback import PlaybackBuffer  # noqa: E402

# Measured by i-LAVA (arXiv 2509.20971, tables IV and V): backbone and per code, ms.
L4 = (15.9, 1.47)
M4_MAX = (37.3, 2.67)


class Playback:
    """Speaks with a machine's frame times and counts what the listener misses."""

    def __init__(self, base_ms: float, code_ms: float) -> None:
        self.base_ms, self.code_ms = base_ms, code_ms
        self.now_s = 0.0
        self.buffer = PlaybackBuffer(lambda: self.now_s)
        self.depths: list[int] = []
        self.first_audio_ms = 0.0
        self.missing_ms = 0.0

    def speak(self, policy: DepthPolicy, frames: int) -> None:
        size, waiting = self.buffer.chunk_frames(), 0
        for _ in range(frames):
            depth = policy.next_depth()
            took_ms = self.base_ms + depth * self.code_ms
            if self.first_audio_ms:
                self.missing_ms += max(0.0, took_ms - self.buffer.left_ms)
            self.now_s += took_ms / 1000
            policy.frame_took(depth, took_ms)
            self.depths.append(depth)
            waiting += 1
            if waiting == size:
                self.first_audio_ms = self.first_audio_ms or 1000 * self.now_s
                self.buffer.add(waiting * 80.0)
                size, waiting = self.buffer.chunk_frames(), 0


def following(playback: Playback) -> DepthFollowsBuffer:
    return DepthFollowsBuffer(playback.buffer, 32, 8)


def test_a_fast_machine_starts_shallow_and_is_soon_at_full_depth() -> None:
    playback = Playback(*L4)
    playback.speak(following(playback), 100)
    assert playback.depths[:2] == [8, 8]
    assert min(playback.depths[10:]) == 32
    assert playback.missing_ms == 0


def test_first_audio_comes_as_early_as_with_few_codes() -> None:
    shallow, auto, deep = (Playback(*L4) for _ in range(3))
    shallow.speak(FixedDepth(8), 100)
    auto.speak(following(auto), 100)
    deep.speak(FixedDepth(32), 100)
    assert auto.first_audio_ms == shallow.first_audio_ms < 0.5 * deep.first_audio_ms


def test_a_machine_too_slow_for_full_depth_gets_what_it_can_without_a_gap() -> None:
    fixed, auto = Playback(*M4_MAX), Playback(*M4_MAX)
    fixed.speak(FixedDepth(32), 300)
    assert fixed.missing_ms > 5_000
    auto.speak(following(auto), 300)
    assert auto.missing_ms <= 80
    assert 12 < sum(auto.depths[50:]) / 250 < 17  # 80 ms are 16 codes


def test_depth_falls_before_the_buffer_runs_out_and_recovers() -> None:
    playback = Playback(*L4)
    policy = following(playback)
    playback.speak(policy, 60)
    playback.base_ms = 60.0  # somebody else uses the machine now
    began = len(playback.depths)
    playback.speak(policy, 200)
    assert min(playback.depths[began:]) < 16
    playback.base_ms = L4[0]
    playback.speak(policy, 300)
    assert min(playback.depths[-100:]) == 32


def test_frame_times_are_a_line_through_what_was_seen() -> None:
    times = FrameTimes()
    assert times.expected_ms(32) == 0
    times.add(8, 20 + 8 * 2)
    assert times.expected_ms(32) > times.expected_ms(8) == pytest.approx(36)
    times.add(32, 20 + 32 * 2)
    assert times.expected_ms(16) == pytest.approx(52)
