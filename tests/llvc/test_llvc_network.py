"""The torch network: as the authors compute it, whole and in steps, rows apart, differentiable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from small_llvc import GOLDEN, SMALL, noise  # noqa: E402

from backtalk.llvc.checkpoint import published_shapes  # noqa: E402
from backtalk.llvc.config import VARIANTS, published_config  # noqa: E402
from backtalk.llvc.network import LlvcNetwork  # noqa: E402
from backtalk.llvc.network_weights import network_of, published_views, voice_of  # noqa: E402
from backtalk.llvc.random_voice import random_voice  # noqa: E402
from backtalk.llvc.voice_file import Voice  # noqa: E402
from backtalk.stream.check import check_rows, check_schedules  # noqa: E402
from slotted_part import SlottedPart  # noqa: E402

ACTIVE = torch.tensor([True])
CHUNK = SMALL.chunk_size


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return load_file(GOLDEN)


def golden_network(golden: dict[str, Any], variant: str) -> LlvcNetwork:
    prefix = "weights."
    weights = {k.removeprefix(prefix): v.numpy() for k, v in golden.items() if prefix in k}
    voice = Voice("golden", SMALL, weights)
    return network_of(voice if variant == "prenet" else voice.without_prenet())


class Converting:
    """One slot that is fed whole chunks: x and y are [chunks, chunk size]."""

    def __init__(self, network: LlvcNetwork) -> None:
        self.network, self.state = network, network.alloc(1)

    def push(self, x: Any) -> Any:
        if not len(x):
            return np.zeros((0, CHUNK), np.float32)
        return self.network.step(self.state, x.reshape(1, -1), ACTIVE).reshape(-1, CHUNK).numpy()

    def flush(self) -> Any:
        return np.zeros((0, CHUNK), np.float32)


@pytest.mark.parametrize("variant", ["prenet", "nc"])
@torch.inference_mode()
def test_a_whole_file_becomes_what_the_authors_code_makes_of_it(
    golden: dict[str, Any], variant: str
) -> None:
    found = golden_network(golden, variant)(golden["odd_pcm"][None])[0]
    expected = golden[f"whole.{variant}"]
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("variant", ["prenet", "nc"])
@torch.inference_mode()
def test_any_chunk_schedule_gives_what_the_authors_code_gives(
    golden: dict[str, Any], variant: str
) -> None:
    network = golden_network(golden, variant)
    pcm = golden["pcm"].reshape(-1, CHUNK)
    expected = golden[f"late.{variant}"].reshape(-1, CHUNK).numpy()
    check_schedules(lambda: Converting(network), pcm, offline=expected, axis=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["prenet", "nc"])
@torch.inference_mode()
def test_slots_do_not_touch_each_other(golden: dict[str, Any], variant: str) -> None:
    inputs = [torch.from_numpy(noise(2 * CHUNK, seed)) for seed in range(5)]
    check_rows(SlottedPart(golden_network(golden, variant)), inputs, atol=1e-6)


@torch.inference_mode()
def test_a_slot_that_sits_out_keeps_every_bit() -> None:
    network = network_of(random_voice(0, SMALL))
    state = network.alloc(2)
    network.step(state, torch.randn(2, CHUNK), torch.tensor([True, True]))
    before = {name: history.held.clone() for name, history in state.histories.items()}
    network.step(state, torch.full((2, CHUNK), torch.nan), torch.tensor([False, False]))
    for name, history in state.histories.items():
        assert torch.equal(history.held, before[name])


@torch.inference_mode()
def test_a_step_never_looks_at_a_value_so_that_a_device_need_not_be_waited_for() -> None:
    with torch.device("meta"):  # tensors without values: looking at one fails
        network = LlvcNetwork(SMALL)
        network.decoder.positions = torch.zeros(SMALL.window_frames, SMALL.decoder_width)
        active = torch.ones(2, dtype=torch.bool)
        state = network.alloc(2)
        converted = network.step(state, torch.zeros(2, CHUNK), active)
        network.reset(state, active)
    assert converted.shape == (2, CHUNK)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_published_sizes_have_the_published_number_of_parameters(variant: Any) -> None:
    config = published_config(variant)
    with torch.device("meta"):
        network = LlvcNetwork(config)
    count = 3_258_624 if variant == "llvc_nc" else 3_258_720
    assert sum(p.numel() for p in network.parameters()) == count
    views = published_views(network)
    assert {name: tuple(view.shape) for name, view in views.items()} == published_shapes(config)
    assert len(views) + 1 == (99 if variant == "llvc_nc" else 147)  # and the table of positions


def test_every_weight_learns() -> None:
    network = network_of(random_voice(0, SMALL)).train()
    network(torch.from_numpy(noise(6 * CHUNK))[None]).square().sum().backward()
    still = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == {"label.first.weight"}  # the one label is 0


def test_a_network_becomes_the_voice_it_was_made_of() -> None:
    voice = random_voice(0, SMALL)
    again = voice_of(network_of(voice), "again")
    assert again.config == voice.config
    assert again.weights.keys() == voice.weights.keys()
    for name, tensor in voice.weights.items():
        assert np.array_equal(again.weights[name], tensor)
