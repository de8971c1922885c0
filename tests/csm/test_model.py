"""The model: its size, the kept numbers of another implementation, rows, depth, reserved ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from backtalk.csm.config import csm_1b, csm_tiny  # noqa: E402
from backtalk.csm.load import build_csm, random_csm  # noqa: E402
from backtalk.csm.model import CsmModel  # noqa: E402
from backtalk.nn.sampling import fill_gumbel  # noqa: E402
from backtalk.stream.check import check_rows  # noqa: E402
from csm.golden_weights import golden_codes, golden_tensors, golden_text  # noqa: E402
from slotted_part import SlottedPart  # noqa: E402

CONFIG = csm_tiny()
GOLDEN = Path(__file__).parents[1] / "golden" / "csm_tiny.safetensors"
ALONE = torch.tensor([True])


@pytest.fixture(scope="module")
def golden_model() -> CsmModel:
    tensors = golden_tensors(CONFIG)
    return build_csm(CONFIG, lambda entry: tensors[entry.original], "original")


def prefilled(model: CsmModel, text: Any) -> Any:
    state = model.alloc(1)
    model.take(state, model.embed_text(text[None, :-1]), ALONE)
    state.pending.copy_(model.embed_text(text[None, -1:]))
    return state


def relative_error(ours: Any, theirs: Any) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = CsmModel(csm_1b())
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_552_791_552


@torch.inference_mode()
def test_the_backbone_gives_what_transformers_gives(golden_model: CsmModel) -> None:
    kept = load_file(GOLDEN)
    text, codes = golden_text(CONFIG), golden_codes(CONFIG)
    x = torch.cat([golden_model.embed_text(text), golden_model.embed_codes(codes.t())])
    hidden = golden_model.take(golden_model.alloc(1), x[None], ALONE)
    assert relative_error(hidden[0], kept["hidden"]) < 1e-4
    assert relative_error(golden_model.first_head(hidden[0, -1]), kept["first_logits"]) < 1e-4


@torch.inference_mode()
def test_the_depth_transformer_gives_what_transformers_gives(golden_model: CsmModel) -> None:
    kept = load_file(GOLDEN)
    codes = golden_codes(CONFIG)[:, 0]
    state = golden_model.alloc(1)
    x = golden_model.projection(kept["hidden"][None, -1:])
    x = torch.cat((x, golden_model._depth_input(0, codes[None, 0])), 1)
    for at in range(1, CONFIG.codebooks):
        logits = golden_model.later_logits(state, at, x)
        assert relative_error(logits[0], kept["depth_logits"][at - 1, : CONFIG.card]) < 1e-4
        x = golden_model._depth_input(at, codes[None, at])


@torch.inference_mode()
def test_greedy_frames_are_those_of_transformers(golden_model: CsmModel) -> None:
    state = prefilled(golden_model, golden_text(CONFIG))
    frames = [golden_model.step(state, ALONE, CONFIG.codebooks)[0] for _ in range(4)]
    assert torch.equal(torch.stack(frames), load_file(GOLDEN)["frames"])


class SlottedFrames(SlottedPart):
    """Frames of many rows; what comes in is a position to take before the frame."""

    def step(self, state: Any, x: Any, active: np.ndarray) -> np.ndarray:
        mask = torch.from_numpy(active)
        self.part.take(state, x, mask)
        return self.part.step(state, mask, 5).numpy()


@torch.inference_mode()
def test_rows_do_not_touch_each_other(golden_model: CsmModel) -> None:
    inputs = [torch.randn(1, CONFIG.backbone.width) for _ in range(5)]
    check_rows(SlottedFrames(golden_model), inputs)


@torch.inference_mode()
def test_a_row_that_sits_out_keeps_what_is_pending(golden_model: CsmModel) -> None:
    state = golden_model.alloc(2)
    golden_model.step(state, torch.tensor([True, True]), 3)
    before = state.pending[1].clone()
    golden_model.step(state, torch.tensor([True, False]), 3)
    assert torch.equal(state.pending[1], before)
    assert state.backbone.position.tolist() == [2, 1]


@torch.inference_mode()
def test_the_first_codes_of_a_frame_do_not_depend_on_how_deep_it_goes(
    golden_model: CsmModel,
) -> None:
    text = golden_text(CONFIG)
    deep = golden_model.step(prefilled(golden_model, text), ALONE, CONFIG.codebooks)
    for depth in range(1, CONFIG.codebooks):
        shallow = golden_model.step(prefilled(golden_model, text), ALONE, depth)
        assert torch.equal(shallow, deep[:, :depth])


@torch.inference_mode()
def test_the_folded_table_changes_nothing() -> None:
    tensors = golden_tensors(CONFIG)
    model = build_csm(CONFIG, lambda entry: tensors[entry.original], "original")
    folded = model._depth_input(3, torch.tensor([5]))
    model.depth_embeddings = None
    assert torch.allclose(model._depth_input(3, torch.tensor([5])), folded, atol=1e-6)


@torch.inference_mode()
def test_reserved_ids_are_never_drawn() -> None:
    model = random_csm(1, config=CONFIG)
    with torch.no_grad():
        for head in (model.first_head, *model.later_heads):
            head.weight[CONFIG.card :] *= 100
    state = model.alloc(1)
    state.temperature.fill_(2.0)
    for seed in range(20):
        fill_gumbel(state.noise, [torch.Generator().manual_seed(seed)])
        assert int(model.step(state, ALONE, 8, top_k=None).max()) < CONFIG.card


@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
@torch.inference_mode()
def test_rounded_weights_stay_near_the_exact_ones(weights: Any) -> None:
    if weights == "bfloat16" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        pytest.skip("bfloat16 products need AVX512 here")
    tensors = golden_tensors(CONFIG)
    exact = build_csm(CONFIG, lambda entry: tensors[entry.original], "original")
    model = build_csm(CONFIG, lambda entry: tensors[entry.original], "original", weights)
    x = exact.embed_text(golden_text(CONFIG))[None]
    hidden = exact.take(exact.alloc(1), x, ALONE)
    error = model.take(model.alloc(1), x, ALONE) - hidden
    snr_db = 10 * torch.log10(hidden.square().mean() / error.square().mean())
    assert snr_db > {"bfloat16": 35.0, "int8": 28.0, "int4": 10.0}[weights]
