"""Checkpoints: both layouts, other spellings, and every way in which a file can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from backtalk.codecs.mimi.config import MimiConfig, mimi_small  # noqa: E402
from backtalk.codecs.mimi.layouts import (  # noqa: E402
    detect_layout,
    published_shapes,
    to_kyutai,
    to_transformers,
)
from backtalk.codecs.mimi.load import SMALLEST_USAGE, load_mimi, mimi_from_tensors  # noqa: E402
from backtalk.codecs.mimi.random_mimi import random_mimi_tensors  # noqa: E402
from backtalk.errors import ModelError  # noqa: E402

SMALL = mimi_small()

FIRST_CONV = "encoder.model.0.conv.conv.weight"
CODEBOOK = "quantizer.rvq_rest.vq.layers.1._codebook"


@pytest.fixture
def tensors() -> dict[str, Any]:
    return random_mimi_tensors(0, SMALL)


def failure(tmp_path: Path, tensors: dict[str, Any]) -> str:
    """The one line with which a file of these tensors is refused."""
    path = tmp_path / "mimi.safetensors"
    save_file(tensors, path)
    return refusal(path)


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_mimi(path, SMALL)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    return line


def same_weights(a: Any, b: Any) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_the_published_file_has_318_tensors() -> None:
    shapes = published_shapes(MimiConfig())
    assert len(shapes) == 318
    assert shapes["decoder.model.2.convtr.convtr.weight"] == (1024, 512, 16)
    assert shapes["decoder.model.14.conv.conv.weight"] == (1, 64, 3)
    assert shapes["encoder.model.12.conv.conv.weight"] == (1024, 512, 16)
    assert shapes["quantizer.rvq_rest.vq.layers.30._codebook.embedding_sum"] == (2048, 256)


def test_layouts_convert_into_each_other_bit_for_bit(tensors: dict[str, Any]) -> None:
    theirs = to_transformers(tensors, SMALL)
    assert detect_layout(tensors) == "kyutai"
    assert detect_layout(theirs) == "transformers"
    back = to_kyutai(theirs, SMALL)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    again = to_transformers(back, SMALL)
    assert again.keys() == theirs.keys()
    assert all(torch.equal(again[name], theirs[name]) for name in theirs)


def test_names_are_those_that_transformers_publishes(tensors: dict[str, Any]) -> None:
    golden = load_file(Path(__file__).parent.parent / "golden" / "mimi_small.safetensors")
    expected = {k.removeprefix("weights."): v.shape for k, v in golden.items() if "weights." in k}
    found = {name: tensor.shape for name, tensor in to_transformers(tensors, SMALL).items()}
    assert found == expected


def test_both_layouts_load_as_the_same_model(tmp_path: Path, tensors: dict[str, Any]) -> None:
    save_file(tensors, tmp_path / "kyutai.safetensors")
    save_file(to_transformers(tensors, SMALL), tmp_path / "transformers.safetensors")
    kyutai = load_mimi(tmp_path / "kyutai.safetensors", SMALL)
    assert same_weights(kyutai, load_mimi(tmp_path / "transformers.safetensors", SMALL))


def test_other_spellings_of_kyutais_names_load_too(tensors: dict[str, Any]) -> None:
    spelt = {
        name.replace("in_proj_weight", "in_projs.0.weight")
        .replace("out_proj.", "out_projs.0.")
        .replace("_initialized", "inited")
        .replace("cluster_usage", "cluster_size")
        .replace("embedding_sum", "embed_avg"): tensor
        for name, tensor in tensors.items()
    }
    spelt = {
        name.replace("out_projs.0.", "out_proj.") if name.startswith("quantizer") else name: tensor
        for name, tensor in spelt.items()
    }
    expected = mimi_from_tensors(tensors, "here", SMALL)
    assert same_weights(mimi_from_tensors(spelt, "here", SMALL), expected)


def test_a_centroid_that_was_hardly_used_does_not_divide_by_nothing(
    tensors: dict[str, Any],
) -> None:
    tensors[f"{CODEBOOK}.cluster_usage"][3] = 0.0
    model = mimi_from_tensors(tensors, "here", SMALL)
    expected = tensors[f"{CODEBOOK}.embedding_sum"][3] / SMALLEST_USAGE
    torch.testing.assert_close(model.quantizer.acoustic.centroids[1, 3], expected)


def test_weights_of_half_precision_are_computed_in_float32(tensors: dict[str, Any]) -> None:
    model = mimi_from_tensors({k: v.bfloat16() for k, v in tensors.items()}, "here", SMALL)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_missing_tensor_is_named(tmp_path: Path, tensors: dict[str, Any]) -> None:
    del tensors[FIRST_CONV]
    assert f"lacks {FIRST_CONV}" in failure(tmp_path, tensors)


def test_of_many_missing_tensors_the_first_are_named(
    tmp_path: Path, tensors: dict[str, Any]
) -> None:
    half = {name: t for name, t in tensors.items() if not name.startswith("decoder")}
    assert "and 33 more" in failure(tmp_path, half)


def test_a_key_without_its_query_is_named(tmp_path: Path, tensors: dict[str, Any]) -> None:
    theirs = to_transformers(tensors, SMALL)
    gone = "encoder_transformer.layers.1.self_attn.q_proj.weight"
    del theirs[gone]
    assert gone in failure(tmp_path, theirs)


def test_a_tensor_too_many_is_named(tmp_path: Path, tensors: dict[str, Any]) -> None:
    tensors["encoder.model.99.conv.conv.weight"] = torch.zeros(1)
    assert "encoder.model.99" in failure(tmp_path, tensors)


def test_a_wrong_shape_is_named_with_the_right_one(tmp_path: Path, tensors: dict[str, Any]) -> None:
    tensors[FIRST_CONV] = torch.zeros(4, 1, 5)
    line = failure(tmp_path, tensors)
    assert "(4, 1, 5)" in line
    assert "(4, 1, 7)" in line


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_weight_that_is_no_number_is_named(
    tmp_path: Path, tensors: dict[str, Any], value: float
) -> None:
    tensors[f"{CODEBOOK}.embedding_sum"][5, 2] = value
    assert f"NaN or infinity in {CODEBOOK}" in failure(tmp_path, tensors)


def test_another_model_is_no_mimi(tmp_path: Path) -> None:
    assert "no Mimi checkpoint" in failure(tmp_path, {"lm_head.weight": torch.zeros(2, 2)})


@pytest.mark.parametrize("kept_bytes", [4, 100, 20_000])
def test_a_file_cut_short_is_refused(
    tmp_path: Path, tensors: dict[str, Any], kept_bytes: int
) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    assert "fetch it again" in refusal(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickled_file_is_never_opened(
    tmp_path: Path, tensors: dict[str, Any], is_zip: bool
) -> None:
    path = tmp_path / "mimi.pt"
    torch.save(tensors, path, _use_new_zipfile_serialization=is_zip)
    assert "save_file" in refusal(path)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "none.safetensors")
