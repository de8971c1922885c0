"""The differentiable path over whole recordings is the streaming model itself."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from backtalk.codecs.mimi.config import mimi_small  # noqa: E402
from backtalk.codecs.mimi.load import mimi_from_tensors  # noqa: E402
from backtalk.codecs.mimi.new_mimi import new_mimi  # noqa: E402
from backtalk.codecs.mimi.random_mimi import random_mimi, random_mimi_tensors  # noqa: E402
from backtalk.codecs.mimi.save import mimi_tensors  # noqa: E402
from backtalk.nn.conv import (  # noqa: E402
    CausalConv1d,
    CausalConvTranspose1d,
    DepthwiseConvTranspose1d,
)

SMALL = mimi_small()
ACTIVE = torch.ones(2, dtype=torch.bool)


def convs() -> list[Any]:
    torch.manual_seed(0)
    depthwise = DepthwiseConvTranspose1d(3, 4, 2)
    torch.nn.init.normal_(depthwise.taps)
    transposed = CausalConvTranspose1d(3, 5, 6, 3)
    with torch.no_grad():
        transposed.linear.bias.copy_(transposed.pack_bias(torch.randn(5)))
    return [
        CausalConv1d(3, 5, 7),
        CausalConv1d(3, 5, 1),
        CausalConv1d(3, 5, 4, 2, bias=False, replicate=True),
        transposed,
        depthwise,
    ]


@pytest.mark.parametrize("number", range(5))
def test_a_convolution_over_all_is_the_same_as_step_by_step(number: int) -> None:
    conv = convs()[number]
    x = torch.randn(2, 12, 3)
    state = conv.alloc(2)
    with torch.inference_mode():
        steps = [conv.step(state, x[:, at : at + 4], ACTIVE) for at in range(0, 12, 4)]
    torch.testing.assert_close(conv(x), torch.cat(steps, dim=1))


@pytest.mark.parametrize("number", range(5))
def test_unpacking_a_weight_undoes_packing_it(number: int) -> None:
    conv = convs()[number]
    matrix = conv.taps if isinstance(conv, DepthwiseConvTranspose1d) else conv.linear.weight
    assert torch.equal(conv.pack_weight(conv.unpack_weight(matrix)), matrix)


def test_a_transposed_convolutions_bias_stays_one_per_channel() -> None:
    conv = convs()[3]
    optimizer = torch.optim.AdamW(conv.parameters(), 0.1)
    for _ in range(3):
        conv(torch.randn(2, 6, 3)).square().mean().backward()
        optimizer.step()
    copies = conv.linear.bias.detach().view(3, 5)
    torch.testing.assert_close(copies, copies[:1].expand(3, 5))


def test_both_halves_over_all_are_the_same_as_frame_by_frame() -> None:
    model = random_mimi(0, SMALL)
    pcm = torch.randn(2, 5 * SMALL.frame_size)
    with torch.inference_mode():
        state = model.encoder.alloc(2)
        frames = pcm.split(SMALL.frame_size, dim=1)
        latents = torch.cat([model.encoder.latents(state, x, ACTIVE) for x in frames], dim=1)
        codes = model.quantizer.encode(latents, 4)
        state = model.decoder.alloc(2)
        sound = torch.cat(
            [model.decoder.step(state, frame, ACTIVE) for frame in codes.split(1, dim=2)], dim=1
        )
    torch.testing.assert_close(model.encoder(pcm), latents, atol=1e-5, rtol=1e-4)
    remade = model.decoder(model.quantizer.decode(codes))
    torch.testing.assert_close(remade, sound, atol=1e-5, rtol=1e-4)


def test_every_weight_of_a_new_model_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = new_mimi(SMALL)
    vectors = model.encoder(0.1 * torch.randn(2, 6 * SMALL.frame_size))
    model.decoder(vectors).square().mean().backward()
    for name, weight in model.named_parameters():
        if not name.startswith("quantizer"):
            assert weight.grad is not None, name
            assert weight.grad.abs().max() > 0, name


def test_a_new_models_vectors_are_about_as_large_as_its_layers_expect() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        vectors = new_mimi(SMALL).encoder(0.1 * torch.randn(2, 50 * SMALL.frame_size))
    assert 0.01 < vectors.std() < 3


def test_saved_tensors_load_as_the_same_model() -> None:
    model = random_mimi(1, SMALL)
    again = mimi_from_tensors(mimi_tensors(model), "saved", SMALL)
    mine, theirs = model.state_dict(), again.state_dict()
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(theirs[name], mine[name])


def test_saving_undoes_loading() -> None:
    tensors = random_mimi_tensors(2, SMALL)
    saved = mimi_tensors(mimi_from_tensors(tensors, "random", SMALL))
    assert saved.keys() == tensors.keys()
    for name in tensors:
        if "_codebook" not in name:
            torch.testing.assert_close(saved[name], tensors[name])
