"""Makes an inner tensor of an ONNX network one of its outputs, without the `onnx` package.

A serialised protobuf message may be extended by writing more fields behind it: a parser merges
embedded messages and appends repeated ones (protobuf's encoding guide, "Last One Wins"). So a few
bytes behind a model add an output to its graph. Both voices know how long each phoneme lasts; this
is how they are asked.
"""

from __future__ import annotations

_MODEL_GRAPH, _GRAPH_OUTPUT, _VALUE_NAME = 7, 12, 1  # field numbers of onnx.proto3


def with_output(model: bytes, tensor: str) -> bytes:
    """The model with `tensor`, the name of a node's output, as its last output.

    ONNX Runtime refuses to load the result if the graph has no such tensor.
    """
    value = _field(_VALUE_NAME, tensor.encode())
    return model + _field(_MODEL_GRAPH, _field(_GRAPH_OUTPUT, value))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
