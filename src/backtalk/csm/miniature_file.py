"""What a miniature's file says of itself, as metadata: sizes, phonemes, and the codec it speaks.

Codes mean nothing without the codec that they were learnt from, so a miniature names it by the
hash of what makes them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from backtalk.csm.config import CsmConfig, TransformerSize
from backtalk.errors import ModelError

_KEY = "csm_miniature"


@dataclass(frozen=True, slots=True)
class Miniature:
    """What is needed to run one.

    Attributes:
        phonemes: see `PhonemeTokenizer`.
        codes_sha256: of its Mimi; see `codecs.mimi.codes_identity`.
    """

    config: CsmConfig
    phonemes: str
    codes_sha256: str


def miniature_metadata(miniature: Miniature) -> dict[str, str]:
    """What `read_miniature` finds again."""
    return {_KEY: json.dumps(asdict(miniature), sort_keys=True)}


def read_miniature(path: Path) -> Miniature | None:
    """What a safetensors file says of itself; None if it is no miniature.

    Raises:
        ModelError: it says something else, or is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged or no safetensors file: {error}") from error
    if text is None:
        return None
    try:
        table: dict[str, Any] = json.loads(text)
        config = table.pop("config")
        if set(config) != {field.name for field in fields(CsmConfig)}:
            raise ValueError(f"sizes of {', '.join(config)}")
        backbone, depth = (TransformerSize(**config.pop(name)) for name in ("backbone", "depth"))
        return Miniature(config=CsmConfig(backbone, depth, **config), **table)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: what it says of itself cannot be read ({error}); was it written by another "
            "version?"
        ) from error
