"""The variables of a CTranslate2 model file, which the library itself keeps to itself.

Layout: https://github.com/OpenNMT/CTranslate2 (python/ctranslate2/specs/model_spec.py, MIT).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from backtalk.errors import ModelError

_VERSION = 6
_FLOAT32, _FLOAT16 = 0, 4
_TYPES = {_FLOAT32: "<f4", _FLOAT16: "<f2"}


def read_variables(path: Path, is_wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """Some variables by name, as float32.

    Args:
        path: a `model.bin`.
        is_wanted: whether a variable of that name is; others are passed over unread.
    Raises:
        ModelError: missing, damaged, of another version, or a wanted variable is quantized.
    """
    try:
        return _read(path, is_wanted)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path}: is no CTranslate2 model, or cut short; fetch it again"
        ) from error


def _read(path: Path, is_wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with path.open("rb") as file:

        def number(kind: str) -> int:
            value: int = struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0]
            return value

        def text() -> str:
            return file.read(number("H")).rstrip(b"\0").decode()

        if (version := number("I")) != _VERSION:
            raise ModelError(f"{path}: is of version {version}, but only {_VERSION} can be read")
        text(), number("I")  # the kind of model and its revision
        for _ in range(number("I")):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            kind, size_bytes = number("B"), number("I")
            if not is_wanted(name):
                file.seek(size_bytes, 1)
                continue
            if kind not in _TYPES:
                raise ModelError(f"{path}: {name} is quantized; give a model in float16 or float32")
            values = np.frombuffer(file.read(size_bytes), _TYPES[kind])
            if values.size != math.prod(shape):
                raise ValueError(f"{name} is cut short")
            found[name] = values.reshape(shape).astype(np.float32)
    return found
