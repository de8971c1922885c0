"""Transformers: step by step as over the whole sequence, rows apart, windows and conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backtalk.nn.norm import RmsNorm  # noqa: E402
from backtalk.nn.rope import (  # noqa: E402
    LlamaScaling,
    rope_frequencies,
    rotate,
    to_half_split,
    to_interleaved,
    turns_at,
)
from backtalk.nn.transformer import Transformer  # noqa: E402
from backtalk.stream.check import check_rows, check_schedules  # noqa: E402
from slotted_part import SlottedPart  # noqa: E402

WIDTH = 16
VARIANTS: dict[str, dict[str, Any]] = {
    "llama": {"scaling": LlamaScaling(), "theta": 500_000.0, "max_positions": 64},
    "mimi": {
        "norm": "layer",
        "mlp": "gelu",
        "layer_scale": True,
        "final_norm": False,
        "window": 5,
        "longest_step": 64,
    },
}


def make(name: str) -> Transformer:
    torch.manual_seed(0)
    part = Transformer(2, WIDTH, 32, 4, 2, 8, **VARIANTS[name]).double().eval()
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return part


class Stream:
    """One row, fed pieces of any length."""

    def __init__(self, part: Transformer) -> None:
        self.part, self.state = part, part.alloc(1)

    def push(self, x: Any) -> Any:
        if not len(x):
            return x.numpy()
        return self.part.step(self.state, x[None], torch.tensor([True]))[0].numpy()

    def flush(self) -> Any:
        return np.zeros((0, WIDTH))


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_any_step_schedule_gives_the_whole_sequence(name: str) -> None:
    part = make(name)
    x = torch.randn(40, WIDTH, dtype=torch.float64)
    check_schedules(lambda: Stream(part), x, offline=part(x[None])[0].numpy(), axis=0, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_rows_do_not_touch_each_other(name: str) -> None:
    inputs = [torch.randn(2, WIDTH, dtype=torch.float64) for _ in range(5)]
    check_rows(SlottedPart(make(name)), inputs, atol=1e-9)


@torch.inference_mode()
def test_a_row_that_sits_out_is_untouched_bit_for_bit() -> None:
    part = make("mimi")
    state = part.alloc(2)
    x = torch.randn(2, 1, WIDTH, dtype=torch.float64)
    part.step(state, x, torch.tensor([True, True]))
    before = [cache.keys[1, :-1].clone() for cache in state.caches]
    part.step(state, x * torch.nan, torch.tensor([True, False]))
    assert state.position.tolist() == [2, 1]
    assert all(torch.equal(a, c.keys[1, :-1]) for a, c in zip(before, state.caches, strict=True))


@torch.inference_mode()
def test_a_ring_goes_on_long_after_it_has_come_round() -> None:
    part = Transformer(1, WIDTH, 32, 4, 2, 8, window=5, longest_step=2).double()
    x = torch.randn(200, WIDTH, dtype=torch.float64)
    state = part.alloc(1)
    pieces = [
        part.step(state, x[None, at : at + 2], torch.tensor([True])) for at in range(0, 200, 2)
    ]
    assert torch.allclose(torch.cat(pieces, 1), part(x[None]), atol=1e-6)
    assert state.caches[0].keys.shape[1] == 7


@torch.inference_mode()
def test_reading_only_the_places_in_use_changes_nothing() -> None:
    part = make("llama")
    x = torch.randn(1, 6, WIDTH, dtype=torch.float64)
    everything, bounded = part.alloc(1), part.alloc(1)
    active = torch.tensor([True])
    y = part.step(everything, x, active)
    assert torch.allclose(part.step(bounded, x, active, span=8), y, atol=1e-12)


@torch.inference_mode()
def test_a_reset_row_forgets_even_what_was_not_a_number() -> None:
    part = make("llama")
    state = part.alloc(1)
    x = torch.randn(1, 3, WIDTH, dtype=torch.float64)
    part.step(state, x * torch.nan, torch.tensor([True]))
    part.reset(state, torch.tensor([True]))
    assert torch.equal(
        part.step(state, x, torch.tensor([True])), part.step(part.alloc(1), x, torch.tensor([True]))
    )


def test_a_step_longer_than_the_ring_was_made_for_is_refused() -> None:
    part = Transformer(1, WIDTH, 32, 4, 2, 8, window=5, longest_step=2)
    with pytest.raises(ValueError, match="at most 2"):
        part.step(part.alloc(1), torch.zeros(1, 3, WIDTH), torch.tensor([True]))


def test_both_orders_of_rotary_pairs_turn_by_the_same_angles() -> None:
    heads, head_dim, width = 3, 8, 5
    half_split = torch.randn(heads * head_dim, width)
    interleaved = to_interleaved(half_split, heads)
    assert torch.equal(to_half_split(interleaved, heads), half_split)
    x = torch.randn(1, 7, width)
    frequencies = rope_frequencies(head_dim, 500_000.0, LlamaScaling())
    turns = turns_at(torch.arange(7)[None], frequencies)
    ours = rotate((x @ interleaved.T).unflatten(-1, (heads, head_dim)), turns)
    angles = torch.arange(7)[:, None, None] * frequencies
    first, second = (x @ half_split.T).unflatten(-1, (heads, 2, -1)).unbind(-2)
    turned_first = first * angles.cos() - second * angles.sin()
    turned_second = second * angles.cos() + first * angles.sin()
    assert torch.allclose(ours[..., 0::2], turned_first, atol=1e-5)
    assert torch.allclose(ours[..., 1::2], turned_second, atol=1e-5)


def test_frequency_scaling_keeps_fast_pairs_and_slows_slow_ones() -> None:
    plain = rope_frequencies(64, 500_000.0)
    scaled = rope_frequencies(64, 500_000.0, LlamaScaling())
    assert torch.equal(scaled[:10], plain[:10])
    assert torch.allclose(scaled[-5:] * 32, plain[-5:])


def test_both_published_spellings_of_the_scaling_are_one() -> None:
    original = rope_frequencies(64, 500_000.0, LlamaScaling(32.0, 1.0, 4.0, 8192))
    rescaled = rope_frequencies(64, 500_000.0, LlamaScaling(32.0, 0.125, 0.5, 1024))
    assert torch.allclose(original, rescaled, rtol=1e-6)


@torch.inference_mode()
def test_the_norm_is_that_of_torch_even_of_nothing() -> None:
    norm = RmsNorm(24)
    torch.nn.init.normal_(norm.weight)
    for x in (torch.randn(2, 3, 24) * 50, torch.zeros(1, 24)):
        expected = torch.nn.functional.rms_norm(x, (24,), norm.weight, 1e-5)
        assert torch.allclose(norm(x), expected, rtol=1e-5, atol=1e-6)
