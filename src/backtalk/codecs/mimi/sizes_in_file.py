"""The sizes of a Mimi that is not of the published size, as metadata of its safetensors file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from typing import Any

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.errors import ModelError

_KEY = "mimi_config"


def sizes_metadata(config: MimiConfig) -> dict[str, str]:
    """What `read_sizes` finds again."""
    return {_KEY: json.dumps(asdict(config), sort_keys=True)}


def read_sizes(path: str | os.PathLike[str]) -> MimiConfig | None:
    """The sizes that a safetensors file names; None if it names none.

    Raises:
        ModelError: it names something else.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_KEY)
    if text is None:
        return None
    try:
        table: dict[str, Any] = json.loads(text)
        table["strides"] = tuple(table["strides"])
        if set(table) != {field.name for field in fields(MimiConfig)}:
            raise ValueError(f"sizes of {', '.join(table)}")
        return MimiConfig(**table)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{os.fspath(path)}: its sizes cannot be read ({error}); was it written by another "
            "version?"
        ) from error
