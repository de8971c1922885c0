"""Drawing codes: the right distribution, ties, greed, and rows that stay their own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from backtalk.nn.sampling import fill_gumbel, sample  # noqa: E402


def test_draws_follow_the_softmax() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0]).expand(20_000, -1)
    noise = torch.empty(20_000, 4)
    fill_gumbel(noise[None], [torch.Generator().manual_seed(1)])
    drawn = sample(logits, noise, torch.full((20_000, 1), 0.7), None)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert torch.allclose(shares, torch.softmax(logits[0] / 0.7, 0), atol=0.01)


def test_only_the_likeliest_are_drawn_and_ties_stay_in() -> None:
    logits = torch.tensor([3.0, 1.0, 1.0, 0.9]).expand(5_000, -1)
    noise = torch.empty(5_000, 4)
    fill_gumbel(noise[None], [torch.Generator().manual_seed(1)])
    drawn = sample(logits, noise, torch.full((5_000, 1), 5.0), 2)
    assert sorted(drawn.unique().tolist()) == [0, 1, 2]


def test_no_temperature_is_greed_whatever_the_noise() -> None:
    logits = torch.randn(8, 50)
    noise = torch.empty(8, 50)
    fill_gumbel(noise, [torch.Generator().manual_seed(i) for i in range(8)])
    assert torch.equal(sample(logits, noise, torch.zeros(8, 1), 50), logits.argmax(1))


def test_rows_may_differ_in_temperature() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    noise = torch.tensor([[9.0, 0.0], [9.0, 0.0]])
    assert sample(logits, noise, torch.tensor([[0.0], [1.0]]), None).tolist() == [1, 0]


def test_a_row_draws_the_same_noise_whoever_else_draws() -> None:
    together, alone = torch.zeros(2, 4), torch.zeros(1, 4)
    fill_gumbel(together, [torch.Generator().manual_seed(3), torch.Generator().manual_seed(4)])
    fill_gumbel(alone, [torch.Generator().manual_seed(4)])
    assert torch.equal(together[1], alone[0])
    before = together.clone()
    fill_gumbel(together, [None, torch.Generator().manual_seed(4)])
    assert torch.equal(together[0], before[0])
