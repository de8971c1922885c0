"""Reads which tokens of a GGUF model steer it, so that a user cannot say them."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np

_CONTROL = 3
_STRING, _ARRAY = 8, 9
# Struct letters of the plain value types, by their number in the format.
_PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def control_tokens(path: Path) -> list[str]:
    """The model's control tokens, such as `<|im_end|>`, longest first.

    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.

    Raises:
        ValueError: not such a file, or it names no token types.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError("not a GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _control_tokens(data)
            except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
                raise ValueError(f"damaged GGUF header: {error}") from error


def chat_template(path: Path) -> str | None:
    """The model's chat template (Jinja), None if the file has none or cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            (entries,) = struct.unpack_from("<Q", data, 16)
            position = 24
            for _ in range(entries):
                key, position = _string(data, position)
                (kind,) = struct.unpack_from("<I", data, position)
                if key == "tokenizer.chat_template" and kind == _STRING:
                    return _string(data, position + 4)[0]
                position = _after(data, position + 4, kind)
    except (OSError, ValueError, struct.error, IndexError, KeyError):
        pass
    return None


def _control_tokens(data: mmap.mmap) -> list[str]:
    _version, _tensors, entries = struct.unpack_from("<IQQ", data, 4)
    position = 24
    tokens: list[tuple[int, int]] | None = None
    types: np.ndarray | None = None
    for _ in range(entries):
        key, position = _string(data, position)
        (kind,) = struct.unpack_from("<I", data, position)
        position += 4
        if key == "tokenizer.ggml.tokens":
            tokens, position = _string_places(data, position)
        elif key == "tokenizer.ggml.token_type":
            count = struct.unpack_from("<IQ", data, position)[1]
            types = np.frombuffer(data[position + 12 : position + 12 + 4 * count], np.int32)
            position += 12 + 4 * count
        else:
            position = _after(data, position, kind)
        if tokens is not None and types is not None:
            chosen = [tokens[index] for index in np.flatnonzero(types == _CONTROL)]
            texts = {data[start:end].decode() for start, end in chosen}
            return sorted(texts - {""}, key=lambda text: (-len(text), text))
    raise ValueError("the file names no token types")


def _string(data: mmap.mmap, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, position)
    end = position + 8 + length
    return data[position + 8 : end].decode(), end


def _string_places(data: mmap.mmap, position: int) -> tuple[list[tuple[int, int]], int]:
    """Where the strings of an array are; most are never looked at."""
    (count,) = struct.unpack_from("<Q", data, position + 4)
    position += 12
    places = []
    unpack = struct.Struct("<Q").unpack_from
    for _ in range(count):
        end = position + 8 + unpack(data, position)[0]
        places.append((position + 8, end))
        position = end
    return places, position


def _after(data: mmap.mmap, position: int, kind: int) -> int:
    """The position behind a value of a type."""
    if kind == _STRING:
        return position + 8 + int(struct.unpack_from("<Q", data, position)[0])
    if kind != _ARRAY:
        return position + struct.calcsize("<" + _PLAIN[kind])
    item, count = struct.unpack_from("<IQ", data, position)
    if item == _STRING:
        return _string_places(data, position)[1]
    if item == _ARRAY:
        raise KeyError("arrays of arrays")
    return position + 12 + struct.calcsize("<" + _PLAIN[item]) * int(count)
