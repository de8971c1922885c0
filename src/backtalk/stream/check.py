"""The checker that decides whether a part may be called streaming.

Three promises, each with a function that raises `StreamingError` where it is broken:

- any chunk schedule gives the offline result (`check_schedules`);
- later input never changes earlier output (also `check_schedules`: what was returned is compared
  again after everything has been fed, which catches buffers handed out and written to later);
- rows of a batch do not touch each other, and a masked row behaves as if the step never happened
  (`check_rows`).

Works on numpy arrays and on anything `numpy.asarray` takes, torch tensors on the CPU included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np


class StreamingError(AssertionError):
    """A part broke the streaming contract; the message says where first."""


class Stream(Protocol):
    """One running stream: feed it, then flush it."""

    def push(self, x: Any) -> Any:
        """Take the next piece of input, return the output that is ready (possibly empty)."""
        ...

    def flush(self) -> Any:
        """The input is over: return what is left."""
        ...


class SlottedPart(Protocol):
    """A batched part with explicit state, one slot per session."""

    def alloc(self, slots: int) -> Any:
        """All memory for `slots` rows, as a value."""
        ...

    def reset(self, state: Any, mask: np.ndarray) -> None:
        """Make the rows where `mask` (bool [slots]) is True as good as new."""
        ...

    def step(self, state: Any, x: Any, active: np.ndarray) -> Any:
        """One step of all rows; only those with `active` True (bool [slots]) may change."""
        ...


def chunk_schedules(length: int, *, seed: int = 0, random_schedules: int = 5) -> list[list[int]]:
    """Ways to cut `length` samples: all at once, one by one, uneven, empty pieces, random.

    One-by-one is left out above 4,000 samples, where it would say nothing new slowly.
    """
    schedules = [[length]]
    if length <= 4000:
        schedules.append([1] * length)
    for pattern in ([1, 3, 2], [7, 0, 64, 1], [160], [511, 513]):
        schedules.append(_repeat(pattern, length))
    rng = np.random.default_rng(seed)
    for _ in range(random_schedules):
        largest = int(rng.integers(2, max(3, length // 2)))
        schedules.append(_repeat(rng.integers(0, largest, size=50).tolist() + [1], length))
    return schedules


def _repeat(pattern: Sequence[int], length: int) -> list[int]:
    schedule: list[int] = []
    left = length
    while left > 0:
        for size in pattern:
            schedule.append(min(size, left))
            left -= schedule[-1]
            if left == 0:
                break
    return schedule


def check_schedules(
    open_stream: Callable[[], Stream],
    x: Any,
    *,
    offline: Any | None = None,
    axis: int = -1,
    atol: float = 0.0,
    schedules: Iterable[Sequence[int]] | None = None,
) -> None:
    """Feed `x` in many chunk schedules; every one must give the offline output.

    Args:
        open_stream: makes a fresh stream.
        x: the input, an array with time on `axis`.
        offline: the right output; by default what one push of everything and a flush give.
        axis: the time axis of input and output.
        atol: largest absolute difference allowed; 0 demands the same bits.
        schedules: chunk sizes to try, by default `chunk_schedules`.
    Raises:
        StreamingError: naming the schedule and the first position that differs.
    """
    length = np.asarray(x).shape[axis]
    if offline is None:
        offline, _ = _run(open_stream(), x, [length], axis)
    expected = np.array(offline)
    for schedule in schedules if schedules is not None else chunk_schedules(length):
        if sum(schedule) != length:
            raise ValueError(f"schedule {_short(schedule)} does not cover {length} samples")
        output, pieces = _run(open_stream(), x, schedule, axis)
        _compare(output, expected, axis, atol, f"chunk schedule {_short(schedule)}")
        again = _join([piece for piece, _ in pieces], axis, like=expected)
        _compare(again, output, axis, 0.0, f"output was changed by later input, {_short(schedule)}")


def _run(
    stream: Stream, x: Any, schedule: Sequence[int], axis: int
) -> tuple[np.ndarray, list[tuple[Any, np.ndarray]]]:
    """Output as it was when returned, and the returned objects themselves beside their copies."""
    pieces: list[tuple[Any, np.ndarray]] = []
    at = 0
    for size in schedule:
        index = [slice(None)] * np.asarray(x).ndim
        index[axis] = slice(at, at + size)
        y = stream.push(x[tuple(index)])
        pieces.append((y, np.array(y)))
        at += size
    y = stream.flush()
    pieces.append((y, np.array(y)))
    return _join([copy for _, copy in pieces], axis), pieces


def _join(pieces: Sequence[Any], axis: int, like: np.ndarray | None = None) -> np.ndarray:
    arrays = [np.asarray(piece) for piece in pieces]
    filled = [a for a in arrays if a.size]
    if not filled:
        return np.asarray(arrays[0]) if like is None else like[..., :0]
    return np.concatenate(filled, axis=axis)


def check_rows(
    part: SlottedPart,
    inputs: Sequence[Any],
    *,
    atol: float = 0.0,
    seed: int = 0,
) -> None:
    """Run rows out of step in one batch; each must get what it would get alone.

    Row r gets the items of `inputs` in its own order, starting at r, and sits out of random
    steps; while it sits out its input is noise. Half-way through, row 0 is reset and starts again.

    Args:
        part: the part under test.
        inputs: at least three inputs of one row and one step each, of equal shape.
        atol: largest absolute difference allowed between a row alone and the row in company.
        seed: of the masks.
    Raises:
        StreamingError: naming the row and step that differ.
    """
    slots, steps = 3, 4 * len(inputs)
    rng = np.random.default_rng(seed)
    rows = [[inputs[(r + s) % len(inputs)] for s in range(steps)] for r in range(slots)]
    active = rng.random((steps, slots)) < 0.6
    reset_at = steps // 2

    alone: list[list[np.ndarray]] = []
    for r in range(slots):
        state, outputs = part.alloc(1), []
        for s in range(steps):
            if r == 0 and s == reset_at:
                part.reset(state, np.array([True]))
            if active[s, r]:
                y = part.step(state, _stack([rows[r][s]]), np.array([True]))
                outputs.append(np.array(y)[0])
        alone.append(outputs)

    state = part.alloc(slots)
    taken = [0] * slots
    for s in range(steps):
        if s == reset_at:
            part.reset(state, np.array([r == 0 for r in range(slots)]))
        x = [rows[r][s] if active[s, r] else _noise_like(rows[r][s], rng) for r in range(slots)]
        y = np.array(part.step(state, _stack(x), active[s]))
        for r in range(slots):
            if active[s, r]:
                _compare(y[r], alone[r][taken[r]], -1, atol, f"row {r} at step {s} in a batch")
                taken[r] += 1


def _stack(rows: Sequence[Any]) -> Any:
    if hasattr(rows[0], "new_zeros"):  # a torch tensor, without importing torch
        return rows[0].new_tensor(np.stack([np.asarray(r) for r in rows]))
    return np.stack(rows)


def _noise_like(x: Any, rng: np.random.Generator) -> Any:
    noise = rng.permuted(np.asarray(x).ravel()).reshape(np.asarray(x).shape)
    return x.new_tensor(noise) if hasattr(x, "new_zeros") else noise


def _compare(got: np.ndarray, expected: np.ndarray, axis: int, atol: float, where: str) -> None:
    if got.shape != expected.shape:
        raise StreamingError(f"{where}: output has shape {got.shape}, offline {expected.shape}")
    if got.size == 0:
        return
    if got.dtype.kind in "fc":
        wrong = ~(np.abs(got - expected) <= atol)
    else:
        wrong = got != expected
    if wrong.any():
        first = np.argwhere(np.moveaxis(wrong, axis, 0))[0]
        error = np.abs(got.astype(np.float64) - expected.astype(np.float64)).max()
        raise StreamingError(
            f"{where}: differs from offline at time {int(first[0])} of {got.shape[axis]}, "
            f"{int(wrong.sum())} of {wrong.size} values, largest difference {error:.3g}"
        )


def _short(schedule: Sequence[int]) -> str:
    shown = ", ".join(str(size) for size in schedule[:6])
    return f"[{shown}{', ...' if len(schedule) > 6 else ''}]"
