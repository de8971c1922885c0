"""A miniature as a file: sizes, phonemes and codec are read from it, and wrong ones refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from backtalk.csm.checkpoint import convert  # noqa: E402
from backtalk.csm.files import load_parts  # noqa: E402
from backtalk.csm.load import load_csm  # noqa: E402
from backtalk.csm.miniature_file import (  # noqa: E402
    Miniature,
    miniature_metadata,
    read_miniature,
)
from backtalk.csm.new_csm import new_csm  # noqa: E402
from backtalk.csm.phonemes import PHONEMES  # noqa: E402
from backtalk.csm.save import csm_tensors  # noqa: E402
from backtalk.errors import ModelError  # noqa: E402
from backtalk.models.miniatures import miniature_path  # noqa: E402
from backtalk.models.store import ModelStore  # noqa: E402
from csm_mini.small_csm import CODEC, small_config, write_codec, write_csm  # noqa: E402

CONFIG = small_config(card=32)


def test_what_was_saved_loads_with_its_sizes_and_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    miniature = write_csm(file, CONFIG, "0" * 64)
    assert read_miniature(file) == miniature
    loaded = load_csm(file)
    assert loaded.config == CONFIG
    torch.manual_seed(0)
    saved, again = csm_tensors(new_csm(CONFIG)), csm_tensors(loaded)
    assert saved.keys() == again.keys()
    assert all(torch.equal(saved[name], again[name]) for name in saved)


def test_it_is_a_checkpoint_of_the_published_layouts(tmp_path: Path) -> None:
    tensors = csm_tensors(new_csm(CONFIG))
    there = convert(tensors, "transformers", CONFIG)
    back = convert(there, "original", CONFIG)
    assert all(torch.equal(tensors[name], back[name]) for name in tensors)


def test_a_miniature_comes_with_its_phonemes_and_the_codec_it_was_trained_with(
    tmp_path: Path,
) -> None:
    codec, model = tmp_path / "codec.safetensors", tmp_path / "model.safetensors"
    write_csm(model, CONFIG, write_codec(codec))
    parts = load_parts(ModelStore(tmp_path), str(model), str(codec), "float32", "cpu")
    assert parts.mimi.config == CODEC
    assert parts.tokens.encode(",") == [0, 2 + PHONEMES.index(","), 1]


def test_another_codec_is_refused(tmp_path: Path) -> None:
    codec, model = tmp_path / "codec.safetensors", tmp_path / "model.safetensors"
    write_csm(model, CONFIG, write_codec(codec))
    write_codec(codec, seed=1)
    with pytest.raises(ModelError, match="codes of another codec"):
        load_parts(ModelStore(tmp_path), str(model), str(codec), "float32", "cpu")


@pytest.mark.parametrize("spoilt", ["no json", '{"config": {}}', "[]"])
def test_a_file_that_says_nonsense_of_itself_is_refused(tmp_path: Path, spoilt: str) -> None:
    file = tmp_path / "model.safetensors"
    save_file(csm_tensors(new_csm(CONFIG)), file, {"csm_miniature": spoilt})
    with pytest.raises(ModelError, match="cannot be read"):
        load_csm(file)


def test_sizes_of_another_version_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    metadata = miniature_metadata(Miniature(CONFIG, PHONEMES, ""))
    table = json.loads(metadata["csm_miniature"])
    del table["config"]["card"]
    save_file(csm_tensors(new_csm(CONFIG)), file, {"csm_miniature": json.dumps(table)})
    with pytest.raises(ModelError, match="another version"):
        load_csm(file)


def test_a_miniature_that_is_not_shipped_says_how_to_train_it() -> None:
    with pytest.raises(ModelError, match="backtalk train no-such-mini"):
        miniature_path("no-such-mini")
