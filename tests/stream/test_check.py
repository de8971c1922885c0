"""The streaming checker must pass what streams and catch what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backtalk.stream.check import StreamingError, check_rows, check_schedules, chunk_schedules

KERNEL = np.array([0.5, 0.3, 0.2], np.float32)
SIGNAL = np.random.default_rng(0).standard_normal(1000).astype(np.float32)


class CausalFilter:
    """A streaming convolution that keeps its left context, as it should."""

    def __init__(self) -> None:
        self.left = np.zeros(len(KERNEL) - 1, np.float32)

    def push(self, x: np.ndarray) -> np.ndarray:
        if not len(x):
            return x
        padded = np.concatenate([self.left, x])
        self.left = padded[len(padded) - (len(KERNEL) - 1) :]
        return np.convolve(padded, KERNEL, mode="valid").astype(np.float32)

    def flush(self) -> np.ndarray:
        return np.zeros(0, np.float32)


class ForgetsItsContext(CausalFilter):
    def push(self, x: np.ndarray) -> np.ndarray:
        self.left = np.zeros(len(KERNEL) - 1, np.float32)
        return super().push(x)


class DropsTheTail(CausalFilter):
    def push(self, x: np.ndarray) -> np.ndarray:
        return super().push(x)[: len(x) // 2 * 2]


class ReusesItsBuffer:
    """Right when returned, overwritten by the next push."""

    def __init__(self) -> None:
        self.buffer = np.zeros(1000, np.float32)

    def push(self, x: np.ndarray) -> np.ndarray:
        self.buffer[: len(x)] = x
        return self.buffer[: len(x)]

    def flush(self) -> np.ndarray:
        return np.zeros(0, np.float32)


def test_a_layer_that_keeps_its_context_passes() -> None:
    offline = np.convolve(SIGNAL, KERNEL)[: len(SIGNAL)]
    check_schedules(CausalFilter, SIGNAL, offline=offline, atol=1e-6)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ForgetsItsContext, "differs from offline at time"),
        (DropsTheTail, "output has shape"),
        (ReusesItsBuffer, "changed by later input"),
    ],
)
def test_a_broken_layer_is_caught_and_the_place_named(broken: Any, message: str) -> None:
    with pytest.raises(StreamingError, match=message):
        check_schedules(broken, SIGNAL)


def test_the_schedules_cover_the_signal_and_include_one_by_one_and_empty_pieces() -> None:
    schedules = chunk_schedules(1000)
    assert all(sum(s) == 1000 for s in schedules)
    assert [1000] in schedules
    assert [1] * 1000 in schedules
    assert any(0 in s for s in schedules)


class RunningMean:
    """A slotted part: mean of all inputs of a row so far."""

    def alloc(self, slots: int) -> dict[str, np.ndarray]:
        return {"sum": np.zeros(slots), "n": np.zeros(slots)}

    def reset(self, state: dict[str, np.ndarray], mask: np.ndarray) -> None:
        for values in state.values():
            values[mask] = 0

    def step(self, state: dict[str, np.ndarray], x: np.ndarray, active: np.ndarray) -> np.ndarray:
        state["sum"] += np.where(active, x.mean(axis=1), 0)
        state["n"] += active
        return np.repeat((state["sum"] / np.maximum(state["n"], 1))[:, None], 4, axis=1)


class IgnoresTheMask(RunningMean):
    def step(self, state: Any, x: np.ndarray, active: np.ndarray) -> np.ndarray:
        return super().step(state, x, np.ones_like(active))


class MixesRows(RunningMean):
    def step(self, state: Any, x: np.ndarray, active: np.ndarray) -> np.ndarray:
        return super().step(state, x, active) + 1e-3 * x[active].sum()


class ResetsEverybody(RunningMean):
    def reset(self, state: Any, mask: np.ndarray) -> None:
        super().reset(state, np.ones_like(mask))


INPUTS = [np.full(4, v, np.float64) + np.arange(4) for v in (1.0, 2.0, 4.0)]


def test_a_part_whose_rows_are_independent_passes() -> None:
    check_rows(RunningMean(), INPUTS)


@pytest.mark.parametrize("broken", [IgnoresTheMask, MixesRows, ResetsEverybody])
def test_a_part_whose_rows_touch_is_caught(broken: type[RunningMean]) -> None:
    with pytest.raises(StreamingError, match="row"):
        check_rows(broken(), INPUTS)
