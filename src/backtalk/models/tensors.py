"""Weights from a safetensors file, and one clear line when the file is not what it should be.

Files that hold pickled objects are never opened: unpickling runs whatever code the file carries.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from backtalk.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN_NAMES = 3
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU, in the types they are stored in.

    Raises:
        ModelError: missing, not a file, cut short, damaged, pickled, or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    refuse_what_is_no_safetensors(Path(path))
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{os.fspath(path)}: is damaged or cut short ({_one_line(error)}); fetch it again"
        ) from error


def check_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Demand exactly these tensors, of these shapes, without a NaN or an infinity.

    Args:
        path: the file they came from, for the message.
        tensors: what was read.
        shapes: what there should be.
    Raises:
        ModelError: naming the first few tensors that are missing, too many, misshapen or not
            finite.
    """
    name = os.fspath(path)
    if missing := [key for key in shapes if key not in tensors]:
        raise ModelError(f"{name}: lacks {_some(missing)}; is it the whole file of this model?")
    if extra := [key for key in tensors if key not in shapes]:
        raise ModelError(f"{name}: holds what this model has not: {_some(extra)}")
    for key, shape in shapes.items():
        found = tuple(tensors[key].shape)
        if found != shape:
            raise ModelError(f"{name}: {key} has shape {found}, not {shape}; another size of it?")
    if spoilt := [key for key in shapes if not is_finite(tensors[key])]:
        raise ModelError(f"{name}: has NaN or infinity in {_some(spoilt)}; fetch it again")


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor has neither NaN nor infinity."""
    # The extremes carry NaN and infinity along, and need no mask as large as the tensor.
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    low, high = tensor.aminmax()
    return bool(low.isfinite() & high.isfinite())


def refuse_what_is_no_safetensors(path: Path, entry: str = "") -> None:
    """Look at the beginning of a file before anything opens it.

    Args:
        path: of the file.
        entry: where in its pickled form the tensors are, e.g. "['model']", for the advice.
    Raises:
        ModelError: missing, a folder, pickled, or of another kind.
    """
    if path.is_dir():
        raise ModelError(f"{path}: is a folder; give the .safetensors file in it")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    if start.startswith(_PICKLE_STARTS):
        raise ModelError(
            f"{path}: is a pickled checkpoint, which could run any code when opened; convert it "
            "where you trust it: safetensors.torch.save_file(torch.load(path, weights_only=True)"
            f"{entry}, 'model.safetensors')"
        )
    if len(start) < 16 or start[8:9] != b"{":
        raise ModelError(f"{path}: is not a safetensors file; fetch it again or check the path")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN_NAMES
    return ", ".join(listed[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
