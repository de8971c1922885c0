"""Checkpoints: both layouts, the way between them, and files that must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from backtalk.csm.checkpoint import convert, entries  # noqa: E402
from backtalk.csm.config import csm_1b, csm_tiny  # noqa: E402
from backtalk.csm.load import checkpoint_files, load_csm  # noqa: E402
from backtalk.errors import ModelError  # noqa: E402
from csm.golden_weights import golden_tensors, golden_text  # noqa: E402

CONFIG = csm_tiny()
ALIAS = "depth_decoder.model.embed_tokens.weight"
EMBEDDING = "backbone_model.embed_tokens.embed_audio_tokens.weight"


@pytest.fixture(scope="module")
def original() -> dict[str, Any]:
    return golden_tensors(CONFIG)


@pytest.fixture(scope="module")
def port(original: dict[str, Any]) -> dict[str, Any]:
    return convert(original, "transformers", CONFIG)


def load(tensors: dict[str, Any], folder: Path) -> Any:
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "x.safetensors")
    return load_csm(folder / "x.safetensors", config=CONFIG)


@torch.inference_mode()
def heard(model: Any) -> Any:
    x = model.embed_text(golden_text(CONFIG))[None]
    return model.take(model.alloc(1), x, torch.tensor([True]))


def test_the_way_there_and_back_changes_no_bit(
    original: dict[str, Any], port: dict[str, Any]
) -> None:
    back = convert(port, "original", CONFIG)
    assert back.keys() == original.keys()
    assert all(torch.equal(back[key], original[key]) for key in original)
    assert not torch.equal(
        port["backbone_model.layers.0.self_attn.q_proj.weight"],
        original["backbone.layers.0.attn.q_proj.weight"],
    )


def test_both_layouts_make_the_same_model(
    original: dict[str, Any], port: dict[str, Any], tmp_path: Path
) -> None:
    assert torch.equal(heard(load(original, tmp_path)), heard(load(port, tmp_path)))


def test_either_name_of_the_audio_embedding_will_do(port: dict[str, Any], tmp_path: Path) -> None:
    renamed = {ALIAS if key == EMBEDDING else key: value for key, value in port.items()}
    assert torch.equal(heard(load(renamed, tmp_path)), heard(load(port, tmp_path)))
    both = {**port, ALIAS: port[EMBEDDING].clone(), "codec_model.some.weight": torch.zeros(1)}
    load(both, tmp_path)


def test_the_published_size_has_its_keys_and_shapes() -> None:
    wanted = entries(csm_1b())
    assert len(wanted) == 5 + 16 * 9 + 1 + 4 * 9 + 1
    shapes = {entry.original: entry.shape for entry in wanted}
    assert shapes["audio_head"] == (31, 1024, 2051)
    assert shapes["decoder.layers.3.attn.k_proj.weight"] == (256, 1024)
    assert shapes["audio_embeddings.weight"] == (65_632, 2048)


def test_a_folder_of_several_files_is_read_by_its_index(
    port: dict[str, Any], tmp_path: Path
) -> None:
    keys = sorted(port)
    halves = {"a.safetensors": keys[::2], "b.safetensors": keys[1::2]}
    for name, half in halves.items():
        save_file({key: port[key].contiguous() for key in half}, tmp_path / name)
    weight_map = {key: name for name, half in halves.items() for key in half}
    index = tmp_path / "transformers.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    heard(load_csm(tmp_path, config=CONFIG))
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks b\.safetensors"):
        load_csm(tmp_path, config=CONFIG)
    index.write_text("[]")
    with pytest.raises(ModelError, match="is no index"):
        load_csm(tmp_path, config=CONFIG)


def test_missing_additional_and_misshapen_tensors_are_named(
    original: dict[str, Any], tmp_path: Path
) -> None:
    broken = dict(original)
    del broken["projection.weight"]
    broken["surprise"] = torch.zeros(1)
    broken["backbone.norm.scale"] = torch.zeros(3)
    with pytest.raises(ModelError) as error:
        load(broken, tmp_path)
    text = str(error.value)
    assert "lacks projection.weight" in text
    assert "unknown surprise" in text
    assert "backbone.norm.scale [3] instead of [64]" in text
    assert "\n" not in text


def test_another_models_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no CSM checkpoint.*lm\.weight"):
        load({"lm.weight": torch.zeros(1)}, tmp_path)


def test_a_tensor_that_is_not_finite_is_refused(original: dict[str, Any], tmp_path: Path) -> None:
    broken = dict(original)
    broken["backbone.norm.scale"] = original["backbone.norm.scale"].clone()
    broken["backbone.norm.scale"][2] = torch.nan
    with pytest.raises(ModelError, match=r"backbone\.norm\.scale has values that are not finite"):
        load(broken, tmp_path)


def test_integers_are_no_weights(original: dict[str, Any], tmp_path: Path) -> None:
    rounded = {**original, "projection.weight": original["projection.weight"].to(torch.int8)}
    with pytest.raises(ModelError, match=r"projection\.weight is torch\.int8"):
        load(rounded, tmp_path)


def test_half_of_each_layout_is_no_checkpoint(
    original: dict[str, Any], port: dict[str, Any], tmp_path: Path
) -> None:
    mixed = {key: value for key, value in port.items() if not key.startswith("depth_decoder")}
    mixed |= {key: value.clone() for key, value in original.items() if key.startswith("decoder")}
    with pytest.raises(
        ModelError, match=r"transformers layout\) lacks depth_decoder.*unknown deco"
    ):
        load(mixed, tmp_path)


def test_a_truncated_file_is_refused(original: dict[str, Any], tmp_path: Path) -> None:
    load(original, tmp_path)
    file = tmp_path / "x.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="damaged"):
        load_csm(file, config=CONFIG)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    pickle = tmp_path / "ckpt.pt"
    pickle.write_bytes(b"\x80\x04")
    for path in (pickle, tmp_path):
        with pytest.raises(ModelError, match=r"pickle.*save_file"):
            checkpoint_files(path)


def test_nothing_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no safetensors file"):
        checkpoint_files(tmp_path)
    with pytest.raises(ModelError, match="there is no CSM checkpoint"):
        checkpoint_files(tmp_path / "nowhere")
