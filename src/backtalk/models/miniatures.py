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
    """A file, or the miniature of that name if it is a bare word and no file here.

    Raises:
        ModelError: see `miniature_path`.
    """
    path = Path(name)
    is_word = path.name == name and not path.suffix
    return miniature_path(name) if is_word and not path.is_file() else path
