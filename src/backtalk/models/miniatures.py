"""The models that were trained here and are part of the package, a file each."""

from __future__ import annotations

from pathlib import Path

from backtalk.errors import ModelError

FOLDER = Path(__file__).parent.parent / "miniatures"


def miniature_path(name: str) -> Path:
    """The file of a miniature, such as `mimi-mini`.

    Raises:
        ModelError: this version has none of that name; says how to train it.
    """
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise ModelError(
            f"{name} is not part of this version; train it with `backtalk train {name} --data "
            f"minitalk --out {name}` and name the file {name}/model.safetensors"
        )
    return path


def miniature_or_file(name: str) -> Path:
    """The file of a miniature if it is the name of one that is there, else a file of that path."""
    path = FOLDER / f"{name}.safetensors"
    return path if path.is_file() else Path(name)
