"""A unit tokenizer on disk: the clusters, and of which states; the encoder stays in the store."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from safetensors import safe_open
from torch import Tensor

from backtalk.codecs.units.load_encoder import load_encoder
from backtalk.codecs.units.unit_tokenizer import Clusters, UnitTokenizer
from backtalk.codecs.units.windows import Windows
from backtalk.errors import ModelError
from backtalk.models.store import ModelStore
from backtalk.models.tensors import check_tensors, read_tensors

_KEY = "units"


@dataclass(frozen=True, slots=True)
class UnitStates:
    """What the states are that clusters are made of.

    Attributes:
        encoder: name of the model in the store.
        layer: how many of its layers are run.
        states_per_unit: states that are averaged for one unit.
        block, before, after: see `Windows`.
    """

    encoder: str
    layer: int
    states_per_unit: int
    block: int
    before: int
    after: int

    @property
    def windows(self) -> Windows:
        """How recordings are cut."""
        return Windows(self.block, self.before, self.after)


def units_metadata(states: UnitStates) -> dict[str, str]:
    """What `load_unit_tokenizer` finds again in the metadata of a safetensors file."""
    return {_KEY: json.dumps(asdict(states), sort_keys=True)}


def units_tensors(clusters: Clusters) -> dict[str, Tensor]:
    """The tensors of the file, which are the clusters' fields."""
    return {field.name: getattr(clusters, field.name) for field in fields(clusters)}


def load_unit_tokenizer(
    path: str | os.PathLike[str], store: ModelStore | None = None
) -> UnitTokenizer:
    """A tokenizer, with its encoder from the store.

    Args:
        path: a safetensors file that the recipe `units` wrote.
        store: by default the user's.
    Raises:
        ModelError: the file is not one of those, or the encoder is not in the store.
    """
    tensors = read_tensors(path)
    states = _read_states(path)
    encoder = load_encoder(store or ModelStore.default(), states.encoder, states.layer)
    clusters = _clusters(path, tensors, encoder.width)
    return UnitTokenizer(encoder, clusters, states.windows, states.states_per_unit)


def _clusters(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], width: int) -> Clusters:
    count = tensors["centroids"].shape[0] if "centroids" in tensors else 1
    shapes = {"centroids": (count, width), "mean": (width,), "deviation": (width,)}
    check_tensors(path, tensors, shapes)
    return Clusters(**{name: tensor.float() for name, tensor in tensors.items()})


def _read_states(path: str | os.PathLike[str]) -> UnitStates:
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_KEY, "")
    try:
        table: dict[str, Any] = json.loads(text)
        return UnitStates(**table)
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{os.fspath(path)}: does not say what its units are made of; give a file that the "
            "recipe `units` wrote"
        ) from error
