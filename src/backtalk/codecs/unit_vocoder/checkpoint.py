"""Unit vocoders on disk: the published layout, with weight norm or without, and its sizes.

Published: `{"generator": ...}` of fairseq's `CodeHiFiGANVocoder` (MIT), as LLaMA-Omni uses it, a
pickle. Ours: the same names in safetensors, sizes in the metadata, weight norm multiplied out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig
from backtalk.codecs.unit_vocoder.unit_vocoder_model import UnitVocoderModel
from backtalk.errors import ConfigError, ModelError
from backtalk.models.tensors import check_tensors, read_tensors, refuse_what_is_no_safetensors

_KEY = "unit_vocoder_config"
_CONFIG_FILE = "config.json"
_PUBLISHED_SIZES = {
    "units": "num_embeddings",
    "embedding": "embedding_dim",
    "channels": "upsample_initial_channel",
    "rates": "upsample_rates",
    "rate_kernels": "upsample_kernel_sizes",
    "block_kernels": "resblock_kernel_sizes",
    "sample_rate": "sampling_rate",
}


def load_unit_vocoder(
    path: str | os.PathLike[str], config: UnitVocoderConfig | None = None
) -> UnitVocoderModel:
    """A vocoder from a safetensors file, in float32 on the CPU, ready to run.

    Args:
        path: what `vocoder_tensors` gave, or the `generator` part of a published checkpoint.
        config: its sizes, by default those in the file, else those of the published `config.json`
            beside it, else those of LLaMA-Omni's vocoder.
    Raises:
        ModelError: not a safetensors file, or its tensors are not those of such a vocoder.
    """
    refuse_what_is_no_safetensors(Path(path), "['generator']")
    tensors = _without_weight_norm(read_tensors(path))
    config = config or _sizes_in_file(path) or _sizes_beside(Path(path)) or UnitVocoderConfig()
    model = UnitVocoderModel(config)
    names = _published_names(model)
    shapes = {theirs: tuple(model.get_parameter(ours).shape) for theirs, ours in names.items()}
    check_tensors(path, tensors, shapes)
    model.load_state_dict({ours: tensors[theirs] for theirs, ours in names.items()})
    return model.eval().requires_grad_(False)


@torch.no_grad()
def vocoder_tensors(model: UnitVocoderModel) -> dict[str, Tensor]:
    """All tensors under their published names, contiguous and their own.

    Args:
        model: without weight norm.
    """
    names = _published_names(model)
    return {
        theirs: model.get_parameter(ours).detach().clone().contiguous()
        for theirs, ours in names.items()
    }


def sizes_metadata(config: UnitVocoderConfig) -> dict[str, str]:
    """What `load_unit_vocoder` finds again."""
    return {_KEY: json.dumps(asdict(config), sort_keys=True)}


def _published_names(model: UnitVocoderModel) -> dict[str, str]:
    """From the published name of every parameter to ours."""
    config = model.config
    modules = {
        "conv_pre": "generator.first",
        "conv_post": "generator.last",
        "dur_predictor.conv1.0": "durations.first",
        "dur_predictor.ln1": "durations.first_norm",
        "dur_predictor.conv2.0": "durations.second",
        "dur_predictor.ln2": "durations.second_norm",
        "dur_predictor.proj": "durations.last",
    }
    kernels = len(config.block_kernels)
    for stage in range(len(config.rates)):
        modules[f"ups.{stage}"] = f"generator.ups.{stage}"
        for beside in range(kernels):
            theirs = f"resblocks.{stage * kernels + beside}"
            ours = f"generator.blocks.{stage}.{beside}"
            for i in range(len(config.dilations)):
                modules[f"{theirs}.convs1.{i}"] = f"{ours}.dilated.{i}"
                modules[f"{theirs}.convs2.{i}"] = f"{ours}.plain.{i}"
    names = {"dict.weight": "embedding.weight"}
    for theirs, ours in modules.items():
        names |= {f"{theirs}.{end}": f"{ours}.{end}" for end in ("weight", "bias")}
    return names


def _without_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Directions and lengths (`weight_v`, `weight_g`) multiplied out."""
    found = {}
    for name, tensor in tensors.items():
        stem, _, end = name.rpartition(".")
        length = tensors.get(f"{stem}.weight_g")
        if end == "weight_v" and length is not None and length.shape[0] == tensor.shape[0]:
            norm = torch.linalg.vector_norm(tensor, dim=(1, 2), keepdim=True)
            found[f"{stem}.weight"] = tensor * (length / norm)
        elif end != "weight_g":
            found[name] = tensor
    return found


def _sizes_in_file(path: str | os.PathLike[str]) -> UnitVocoderConfig | None:
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_KEY)
    if text is None:
        return None
    try:
        table: dict[str, Any] = json.loads(text)
        if set(table) != {field.name for field in fields(UnitVocoderConfig)}:
            raise ValueError(f"sizes of {', '.join(table)}")
        return UnitVocoderConfig(**{name: _hashable(value) for name, value in table.items()})
    except (ValueError, TypeError, AttributeError, ConfigError) as error:
        raise ModelError(
            f"{os.fspath(path)}: its sizes cannot be read ({error}); was it written by another "
            "version?"
        ) from error


def _sizes_beside(path: Path) -> UnitVocoderConfig | None:
    """From the `config.json` that comes with a published checkpoint."""
    file = path.with_name(_CONFIG_FILE)
    if not file.is_file():
        return None
    try:
        table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        sizes = {ours: _hashable(table[theirs]) for ours, theirs in _PUBLISHED_SIZES.items()}
        dilations = {tuple(row) for row in table["resblock_dilation_sizes"]}
        (sizes["dilations"],) = dilations
        durations = table["dur_predictor_params"]
        return UnitVocoderConfig(**sizes, duration_width=durations["var_pred_hidden_dim"])
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise ModelError(
            f"{file}: is not the configuration of a unit vocoder that can be loaded "
            f"({' '.join(str(error).split())})"
        ) from error


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
