"""Voices as files: read as they were written, and one line for every way to get it wrong."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_llvc import SMALL

from backtalk.errors import ConfigError, ModelError
from backtalk.llvc.checkpoint import POSITIONS, published_shapes
from backtalk.llvc.config import LlvcConfig, published_config
from backtalk.llvc.random_voice import random_voice
from backtalk.llvc.voice_file import find_voice, read_voice, write_voice
from backtalk.models.miniatures import miniature_path
from backtalk.models.store import ModelStore


@pytest.mark.parametrize("config", [SMALL, SMALL.without_prenet()])
def test_a_voice_is_read_as_it_was_written(tmp_path: Path, config: LlvcConfig) -> None:
    voice = random_voice(7, config)
    write_voice(tmp_path / "alto.safetensors", voice)
    again = read_voice(tmp_path / "alto.safetensors")
    assert (again.name, again.config) == ("alto", config)
    for name, tensor in voice.weights.items():
        assert np.array_equal(again.weights[name], tensor)


def test_a_published_checkpoint_needs_nothing_beside_its_tensors(tmp_path: Path) -> None:
    config = published_config("llvc")
    tensors: dict[str, Any] = dict(random_voice(0, config).weights)
    tensors[POSITIONS] = np.zeros((1, 200, 256), np.float32)
    assert len(tensors) == 147
    save_file(tensors, tmp_path / "llvc.safetensors")
    voice = read_voice(tmp_path / "llvc.safetensors")
    assert voice.config == config
    assert voice.without_prenet().config == published_config("llvc_nc")
    assert voice.without_prenet().weights.keys() == published_shapes(LlvcConfig()).keys()


def line_of(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_voice(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path: Path) -> None:
    good = dict(random_voice(0, SMALL).weights)
    norm = "mask_gen.decoder.tf_dec_layers.0.norm1.bias"
    cases: list[tuple[str, dict[str, Any]]] = [
        ("in_conv.0.weight is missing", {"x": np.zeros(1, np.float32)}),
        (f"lacks {norm}", {k: v for k, v in good.items() if k != norm}),
        ("has not: stranger", {**good, "stranger": np.zeros(1, np.float32)}),
        (f"{norm} has shape (9,), not (8,)", {**good, norm: np.zeros(9, np.float32)}),
        (f"NaN or infinity in {norm}", {**good, norm: np.full(8, np.inf, np.float32)}),
        ("is no LLVC voice", {**good, "in_conv.0.weight": np.zeros(3, np.float32)}),
    ]
    for i, (says, tensors) in enumerate(cases):
        path = tmp_path / f"{i}.safetensors"
        save_file(tensors, path)
        assert says in line_of(path)
    write_voice(tmp_path / "whole.safetensors", random_voice(0, SMALL))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-50])
    assert "cut short" in line_of(cut)
    text = tmp_path / "text.safetensors"
    text.write_text("this is no voice at all")
    assert "not a safetensors file" in line_of(text)
    assert "no such file" in line_of(tmp_path / "none.safetensors")
    assert "folder" in line_of(tmp_path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "G_500000.pth"
    path.write_bytes(pickle.dumps({"model": {}}, protocol=2))
    assert "weights_only=True)['model']" in line_of(path)


@pytest.mark.parametrize("frames", ["0", "-1", "x", "99999"])
def test_a_chunk_size_no_voice_has_is_refused(tmp_path: Path, frames: str) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(dict(random_voice(0, SMALL).weights), path, metadata={"chunk_frames": frames})
    assert "chunk_frames" in line_of(path)


def test_a_voice_says_which_chunks_it_learned_and_takes_no_others(tmp_path: Path) -> None:
    path = tmp_path / "alto.safetensors"
    learned = replace(random_voice(0, SMALL), trained_chunk_frames=(2, 5))
    write_voice(path, learned)
    voice = read_voice(path)
    assert voice.in_chunks(5).config.chunk_frames == 5
    assert voice.in_chunks(2).in_chunks(3).config == voice.config
    with pytest.raises(ConfigError, match="alto did not learn chunks of 4 frames; it has 2, 3, 5"):
        voice.in_chunks(4)


def test_a_voice_is_found_by_path_by_name_or_because_it_is_the_only_one(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    assert find_voice(store, None) == miniature_path("llvc")
    with pytest.raises(ModelError, match="no voice 'alto'"):
        find_voice(store, "alto")
    folder = tmp_path / "llvc"
    folder.mkdir()
    alto, bass = folder / "alto.safetensors", folder / "bass.safetensors"
    alto.touch()
    assert find_voice(store, None) == alto
    assert find_voice(store, "alto") == alto
    assert find_voice(store, str(alto)) == alto
    bass.touch()
    assert find_voice(store, "llvc") == miniature_path("llvc")
    with pytest.raises(ModelError, match="alto, bass"):
        find_voice(store, None)


def test_a_voice_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written"):
        write_voice(tmp_path / "nowhere" / "x.safetensors", random_voice(0, SMALL))
