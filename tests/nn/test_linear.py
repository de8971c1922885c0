"""Rounded weights: how far off, and where the error comes from."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from backtalk.nn.linear import INT4_GROUP, Int4Linear, Int8Linear, Linear, rounded  # noqa: E402


def weight_of(outputs: int = 64, inputs: int = 256) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(outputs, inputs) * torch.rand(outputs, 1) * 0.1


def shown_weight(linear: torch.nn.Module, inputs: int = 256) -> torch.Tensor:
    """What the kernel multiplies with, found by multiplying with one input at a time."""
    return linear(torch.eye(inputs)).t().float()


@torch.inference_mode()
def test_eight_bits_are_off_by_at_most_half_a_step() -> None:
    weight = weight_of()
    step = weight.abs().amax(1, keepdim=True) / 127
    # bfloat16 results of a 16-bit kernel: 1/256 of the value on top of the rounding.
    allowed = 0.51 * step * 1.01 + weight.abs() / 128
    assert ((shown_weight(Int8Linear(weight)) - weight).abs() <= allowed).all()


@torch.inference_mode()
def test_four_bits_are_off_by_at_most_half_a_step_of_their_group() -> None:
    weight = weight_of()
    groups = weight.view(64, -1, INT4_GROUP)
    step = (groups.amax(-1) - groups.amin(-1)) / 15
    allowed = 0.55 * step[..., None].expand_as(groups).reshape_as(weight) + weight.abs() / 64
    assert ((shown_weight(Int4Linear(weight)) - weight).abs() <= allowed).all()


@pytest.mark.parametrize(("format", "floor_db"), [("int8", 38.0), ("int4", 18.0)])
@torch.inference_mode()
def test_the_product_stays_close_to_the_exact_one(format: str, floor_db: float) -> None:
    weight = weight_of(512, 1024)
    x = torch.randn(3, 1024)
    exact = x @ weight.t()
    error = rounded(weight, format)(x) - exact  # type: ignore[arg-type]
    snr_db = 10 * torch.log10(exact.square().mean() / error.square().mean())
    assert snr_db > floor_db


@torch.inference_mode()
def test_constant_groups_and_rows_of_zeros_survive() -> None:
    weight = torch.zeros(16, 128)
    weight[1] = 0.5
    for format in ("int8", "int4"):
        product = rounded(weight, format)(torch.ones(1, 128))[0]  # type: ignore[arg-type]
        assert product[0] == 0
        assert product[1] == pytest.approx(64, rel=0.01)


def test_a_shape_that_four_bits_cannot_hold_gets_eight() -> None:
    assert isinstance(rounded(torch.randn(16, 100), "int4"), Int8Linear)
    assert isinstance(rounded(torch.randn(10, 128), "int4"), Int8Linear)
    assert isinstance(rounded(torch.randn(10, 128), "bfloat16"), Linear)


@torch.inference_mode()
def test_leading_dimensions_are_kept() -> None:
    for format in ("float32", "int8", "int4"):
        product = rounded(weight_of(), format)(torch.randn(2, 3, 256))  # type: ignore[arg-type]
        assert product.shape == (2, 3, 64)
        assert product.dtype == torch.float32
