"""Lets the caller say what an inner tensor of an ONNX network is, without the `onnx` package.

The counterpart of `minitalk/onnx_outputs.py`: whoever computes the tensor is made to compute one of
another name, and the name becomes an input of the graph, so that all who read it read the caller's.
"""

from __future__ import annotations

from backtalk.train.minitalk.onnx_outputs import with_output

_NODE_OUTPUT = 2  # field numbers of onnx.proto3, all of length-delimited fields but `_ELEMENT`
_MODEL_GRAPH, _GRAPH_INPUT, _VALUE_NAME, _VALUE_TYPE = 7, 11, 1, 2
_TENSOR_TYPE, _ELEMENT, _SHAPE, _DIMENSION, _DIMENSION_NAME = 1, 1, 2, 1, 2
_FLOAT = 1


def with_input(model: bytes, tensor: str, dimensions: int) -> tuple[bytes, str]:
    """The model with `tensor`, the float output of a node, as its last input.

    Args:
        dimensions: of the tensor; their sizes are left open.
    Returns:
        The model, and the name under which what the network itself makes of the tensor is now its
        last output.
    Raises:
        ValueError: not exactly one node makes the tensor.
    """
    own = tensor[:-1] + "~"
    made = _field(_NODE_OUTPUT, tensor.encode())
    if model.count(made) != 1:
        raise ValueError(f"{model.count(made)} nodes make {tensor}")
    # As long as before, so that no length around it changes.
    model = model.replace(made, _field(_NODE_OUTPUT, own.encode()))
    shape = b"".join(
        _field(_DIMENSION, _field(_DIMENSION_NAME, f"d{n}".encode())) for n in range(dimensions)
    )
    element = bytes([_ELEMENT << 3, _FLOAT])
    kind = _field(_VALUE_TYPE, _field(_TENSOR_TYPE, element + _field(_SHAPE, shape)))
    value = _field(_GRAPH_INPUT, _field(_VALUE_NAME, tensor.encode()) + kind)
    return with_output(model + _field(_MODEL_GRAPH, value), own), own


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of less than 128 bytes."""
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload
