"""Where Mimi's published weights lie on this machine, and how to get them if they do not."""

from __future__ import annotations

from pathlib import Path

from backtalk.errors import ModelError
from backtalk.models.store import ModelStore

KYUTAI_FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"
TRANSFORMERS_FILE = "model.safetensors"


def find_mimi_weights(store: ModelStore) -> Path:
    """The file of either layout in the store's folder `mimi`.

    It is no entry of the manifest, because that holds only files whose bytes we have seen.

    Raises:
        ModelError: there is none; says where to get it and where to put it.
    """
    folder = store.root / "mimi"
    for name in (KYUTAI_FILE, TRANSFORMERS_FILE):
        if (folder / name).is_file():
            return folder / name
    raise ModelError(
        f"Mimi's weights are not in {folder}: get them (385 MB, CC-BY 4.0) with `hf download "
        f"kyutai/moshiko-pytorch-bf16 {KYUTAI_FILE} --local-dir {folder}`, or give --model FILE, "
        "or --random-weights 0 to try without"
    )
