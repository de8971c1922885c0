"""Mimi on a miniature: as transformers computes it, in any schedule, slots apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from backtalk.codecs.mimi.config import MimiConfig, mimi_small  # noqa: E402
from backtalk.codecs.mimi.load import mimi_from_tensors  # noqa: E402
from backtalk.codecs.mimi.mimi_model import LONGEST_STEP_FRAMES, MimiModel  # noqa: E402
from backtalk.codecs.mimi.random_mimi import random_mimi  # noqa: E402
from backtalk.stream.check import check_rows, check_schedules  # noqa: E402
from slotted_part import SlottedPart  # noqa: E402

SMALL = mimi_small()

# Weights, noise, codes and what becomes of them in transformers 5.23.0, written by
# benchmarks/mimi_parity.py.
GOLDEN = Path(__file__).parent.parent / "golden" / "mimi_small.safetensors"
FRAME = SMALL.frame_size
ACTIVE = torch.tensor([True])


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return load_file(GOLDEN)


@pytest.fixture(scope="module")
def model(golden: dict[str, Any]) -> MimiModel:
    prefix = "weights."
    weights = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
    return mimi_from_tensors(weights, GOLDEN, SMALL)


class Encoding:
    """One slot that is fed whole frames: x is [frames, frame_size], y [frames, codebooks]."""

    def __init__(self, model: MimiModel) -> None:
        self.part, self.state = model.encoder, model.encoder.alloc(1)

    def push(self, x: Any) -> Any:
        if not len(x):
            return np.zeros((0, SMALL.total_codebooks), np.int64)
        codes = [
            self.part.step(self.state, piece.reshape(1, -1), ACTIVE)[0].T
            for piece in x.split(LONGEST_STEP_FRAMES)
        ]
        return torch.cat(codes).numpy()

    def flush(self) -> Any:
        return self.push(torch.zeros(0, FRAME))


class Decoding:
    """The way back: x is [frames, codebooks], y [frames, frame_size]."""

    def __init__(self, model: MimiModel) -> None:
        self.part, self.state = model.decoder, model.decoder.alloc(1)

    def push(self, x: Any) -> Any:
        if not len(x):
            return np.zeros((0, FRAME), np.float32)
        pieces = [
            self.part.step(self.state, piece.T[None], ACTIVE)
            for piece in x.split(LONGEST_STEP_FRAMES)
        ]
        return torch.cat(pieces, dim=1).reshape(-1, FRAME).numpy()

    def flush(self) -> Any:
        return self.push(torch.zeros(0, SMALL.total_codebooks, dtype=torch.int64))


@torch.inference_mode()
def test_codes_are_those_of_transformers_in_any_schedule(
    model: MimiModel, golden: dict[str, Any]
) -> None:
    pcm = golden["pcm"].reshape(-1, FRAME)
    check_schedules(lambda: Encoding(model), pcm, offline=golden["codes"][0].T.numpy(), axis=0)


@pytest.mark.parametrize("codebooks", [1, 2, 4])
@torch.inference_mode()
def test_sound_is_that_of_transformers_in_any_schedule(
    model: MimiModel, golden: dict[str, Any], codebooks: int
) -> None:
    expected = golden[f"decoded.{codebooks}"][0].reshape(-1, FRAME).numpy()
    codes = golden["codes"][0, :codebooks].T
    atol = 1e-5 * np.abs(expected).max()
    check_schedules(lambda: Decoding(model), codes, offline=expected, axis=0, atol=atol)


@torch.inference_mode()
def test_encoding_slots_do_not_touch_each_other(model: MimiModel) -> None:
    inputs = [torch.randn(2 * FRAME, generator=torch.manual_seed(i)) for i in range(5)]
    check_rows(SlottedPart(model.encoder), inputs)


@torch.inference_mode()
def test_decoding_slots_do_not_touch_each_other(model: MimiModel) -> None:
    torch.manual_seed(0)
    inputs = [torch.randint(0, SMALL.cardinality, (4, 2)) for _ in range(5)]
    check_rows(SlottedPart(model.decoder), inputs, atol=1e-5)


@torch.inference_mode()
def test_slots_of_a_mimi_with_spectra_at_its_ends_do_not_touch_each_other() -> None:
    config = replace(SMALL, spectrum_hop=6)
    model = random_mimi(0, config)
    torch.manual_seed(0)
    pcm = [torch.randn(2 * config.frame_size) for _ in range(5)]
    check_rows(SlottedPart(model.encoder), pcm)
    codes = [torch.randint(0, SMALL.cardinality, (4, 2)) for _ in range(5)]
    check_rows(SlottedPart(model.decoder), codes, atol=1e-5)


@torch.inference_mode()
def test_a_slot_of_nan_spoils_no_other_and_is_well_after_a_reset(
    model: MimiModel, golden: dict[str, Any]
) -> None:
    pcm = golden["pcm"][:, : 4 * FRAME]
    state = model.encoder.alloc(3)
    both = torch.tensor([True, True, False])
    nan = torch.full_like(pcm, torch.nan)
    beside = model.encoder.step(state, torch.cat((pcm, nan, nan)), both)[0]
    assert torch.equal(beside, golden["codes"][0, :, :4])
    model.encoder.reset(state, torch.tensor([False, True, False]))
    again = model.encoder.step(state, pcm.expand(3, -1), torch.tensor([False, True, True]))
    assert torch.equal(again[1], beside)
    assert torch.equal(again[2], beside)


@torch.inference_mode()
def test_fewer_codebooks_are_the_first_of_all(model: MimiModel, golden: dict[str, Any]) -> None:
    for n in range(1, 5):
        pcm = golden["pcm"][:, : 8 * FRAME]
        codes = model.encoder.step(model.encoder.alloc(1), pcm, ACTIVE, n)
        assert torch.equal(codes, golden["codes"][:, :n, :8])


@torch.inference_mode()
def test_a_float64_mimi_streams_without_any_difference_that_counts() -> None:
    model = random_mimi(3, SMALL).double()
    pcm = torch.randn(1, 16 * FRAME, dtype=torch.float64, generator=torch.manual_seed(3))
    whole = model.encoder.latents(model.encoder.alloc(1), pcm, ACTIVE)
    state = model.encoder.alloc(1)
    stepped = [model.encoder.latents(state, x, ACTIVE) for x in pcm.split(FRAME, dim=1)]
    torch.testing.assert_close(torch.cat(stepped, dim=1), whole, atol=1e-6, rtol=0)


def test_the_published_sizes_have_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = MimiModel(MimiConfig())
    assert sum(p.numel() for p in model.parameters()) == 79_314_177
    centroids = model.quantizer.semantic.centroids, model.quantizer.acoustic.centroids
    assert sum(c.numel() for c in centroids) == 32 * 2048 * 256
    assert (model.config.frame_size, model.config.frame_rate) == (1920, 12.5)


@torch.inference_mode()
def test_a_step_never_looks_at_a_value_so_that_a_device_need_not_be_waited_for() -> None:
    with torch.device("meta"):  # tensors without values: looking at one fails
        model = MimiModel(SMALL)
        active = torch.ones(2, dtype=torch.bool)
        encoding, decoding = model.encoder.alloc(2), model.decoder.alloc(2)
        codes = model.encoder.step(encoding, torch.zeros(2, FRAME), active)
        pcm = model.decoder.step(decoding, codes, active)
        model.encoder.reset(encoding, active)
        model.decoder.reset(decoding, active)
    assert pcm.shape == (2, FRAME)
