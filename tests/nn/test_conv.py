"""Convolutions: as torch computes them offline, in any chunk schedule, rows apart."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from backtalk.nn.conv import (  # noqa: E402
    CausalConv1d,
    CausalConvTranspose1d,
    DepthwiseConvTranspose1d,
)
from backtalk.stream.check import check_rows, check_schedules  # noqa: E402
from nn.layer_stream import LayerStream  # noqa: E402
from slotted_part import SlottedPart  # noqa: E402

CHANNELS = 3
PLAIN = [(7, 1), (8, 4), (3, 1), (5, 2), (1, 1), (4, 4)]
TRANSPOSED = [(8, 4), (5, 2), (6, 6), (7, 3)]


def normal(*shape: int) -> Any:
    return torch.randn(*shape, dtype=torch.float64)


def make(kind: str, kernel: int, stride: int) -> tuple[Any, Any]:
    """A layer with random weights, and the same offline as torch has it: [B, T, C] to [B, T, C]."""
    torch.manual_seed(0)
    if kind == "depthwise":
        weight = normal(CHANNELS, 1, kernel)
        layer: Any = DepthwiseConvTranspose1d(CHANNELS, kernel, stride).double()
        layer.taps.data = layer.pack_weight(weight)
        return layer, lambda x: transposed(x, weight, None, stride, CHANNELS)
    bias = normal(5)
    if kind == "transposed":
        weight = normal(CHANNELS, 5, kernel)
        layer = CausalConvTranspose1d(CHANNELS, 5, kernel, stride).double()
        layer.product.bias.data = layer.pack_bias(bias)
        layer.product.weight.data = layer.pack_weight(weight)
        return layer, lambda x: transposed(x, weight, bias, stride, 1)
    weight = normal(5, CHANNELS, kernel)
    layer = CausalConv1d(CHANNELS, 5, kernel, stride, replicate=kind == "replicate").double()
    layer.product.bias.data = bias
    layer.product.weight.data = layer.pack_weight(weight)
    mode = "replicate" if kind == "replicate" else "constant"
    return layer, lambda x: plain(x, weight, bias, stride, mode)


def plain(x: Any, weight: Any, bias: Any, stride: int, mode: str) -> Any:
    padded = functional.pad(x.transpose(1, 2), (weight.shape[2] - stride, 0), mode=mode)
    return functional.conv1d(padded, weight, bias, stride=stride).transpose(1, 2)


def transposed(x: Any, weight: Any, bias: Any, stride: int, groups: int) -> Any:
    y = functional.conv_transpose1d(x.transpose(1, 2), weight, bias, stride=stride, groups=groups)
    return y[..., : x.shape[1] * stride].transpose(1, 2)


CASES = [
    *(("zeros", *sizes) for sizes in PLAIN),
    *(("replicate", *sizes) for sizes in PLAIN),
    *(("transposed", *sizes) for sizes in TRANSPOSED),
    *(("depthwise", *sizes) for sizes in TRANSPOSED),
]


def inputs_per_step(layer: Any) -> int:
    return layer.stride if isinstance(layer, CausalConv1d) else 1


@pytest.mark.parametrize(("kind", "kernel", "stride"), CASES)
@torch.inference_mode()
def test_any_chunk_schedule_gives_what_torch_computes_offline(
    kind: str, kernel: int, stride: int
) -> None:
    layer, offline = make(kind, kernel, stride)
    x = normal(40, inputs_per_step(layer), CHANNELS)
    expected = offline(x.flatten(0, 1)[None])[0].unflatten(0, (len(x), -1))
    check_schedules(lambda: LayerStream(layer), x, offline=expected.numpy(), axis=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "kernel", "stride"), CASES)
@torch.inference_mode()
def test_rows_do_not_touch_each_other(kind: str, kernel: int, stride: int) -> None:
    layer, _ = make(kind, kernel, stride)
    inputs = [normal(2 * inputs_per_step(layer), CHANNELS) for _ in range(4)]
    check_rows(SlottedPart(layer), inputs, atol=1e-9)


@pytest.mark.parametrize("kind", ["zeros", "replicate", "transposed", "depthwise"])
@torch.inference_mode()
def test_the_state_of_a_masked_row_keeps_every_bit(kind: str) -> None:
    layer, _ = make(kind, 8, 4)
    state = layer.alloc(2)
    layer.step(state, normal(2, 4, CHANNELS), torch.tensor([True, False]))
    assert state.history[0].any()
    assert not state.history[1].any()
    before = state.history.clone(), state.is_fresh.clone()
    noise = torch.full((2, 4, CHANNELS), torch.nan, dtype=torch.float64)
    layer.step(state, noise, torch.tensor([False, False]))
    assert torch.equal(state.history, before[0])
    assert torch.equal(state.is_fresh, before[1])


def test_a_kernel_shorter_than_its_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="stride"):
        CausalConv1d(1, 1, 2, 3)
    with pytest.raises(ValueError, match="stride"):
        CausalConvTranspose1d(1, 1, 2, 3)
