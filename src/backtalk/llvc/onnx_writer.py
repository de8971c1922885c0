"""ONNX graphs, written as bytes: of the format this needs little, and no package has to be there.

Source: the field numbers of onnx.proto, https://github.com/onnx/onnx (Apache-2.0).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

IR_VERSION = 8
OPSET = 17
CONTRIB = "com.microsoft"
"""ONNX Runtime's own operators."""

_TYPES = {"float32": 1, "int8": 3, "int64": 7}
_FLOAT, _INT, _INTS = 1, 2, 7

Attribute = float | int | Sequence[int]


class OnnxWriter:
    """A graph of float32 tensors of fixed shapes, built operator by operator."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._integers: dict[tuple[int, ...], str] = {}
        self._names = 0

    def input(self, name: str, shape: Sequence[int]) -> str:
        """Declare a float32 input of the graph."""
        self._inputs.append(_value_info(name, shape))
        return name

    def output(self, name: str, shape: Sequence[int]) -> None:
        """Declare that the float32 tensor of this name is an output."""
        self._outputs.append(_value_info(name, shape))

    def constant(self, array: np.ndarray) -> str:
        """A tensor that never changes; float32, int8 or int64."""
        name = self._fresh("constant")
        self._constants.append(_tensor(name, np.ascontiguousarray(array)))
        return name

    def integers(self, *values: int) -> str:
        """An int64 tensor [len(values)], the same one for the same values."""
        if values not in self._integers:
            self._integers[values] = self.constant(np.array(values, np.int64))
        return self._integers[values]

    def op(
        self, kind: str, *inputs: str, name: str = "", domain: str = "", **attributes: Attribute
    ) -> str:
        """Add an operator with one output.

        Args:
            kind: ONNX's name of it.
            inputs: names of tensors; "" leaves an optional one out.
            name: of its output, by default one that is not taken.
            domain: "" for ONNX's own operators, or `CONTRIB`.
            attributes: floats, integers or lists of integers.
        Returns:
            The name of its output.
        """
        output = name or self._fresh(kind)
        self._add(kind, inputs, [output], domain, attributes)
        return output

    def split(self, x: str, axis: int, *sizes: int) -> list[str]:
        """Cut a tensor along an axis."""
        outputs = [self._fresh("Split") for _ in sizes]
        self._add("Split", [x, self.integers(*sizes)], outputs, "", {"axis": axis})
        return outputs

    def slice(self, x: str, axis: int, begin: int, end: int) -> str:
        """Rows `begin` to `end` of an axis."""
        bounds = (self.integers(begin), self.integers(end), self.integers(axis))
        return self.op("Slice", x, *bounds)

    def reshape(self, x: str, *shape: int) -> str:
        """The same values in another shape."""
        return self.op("Reshape", x, self.integers(*shape))

    def to_bytes(self) -> bytes:
        """The whole file."""
        graph = b"".join(
            (
                *(_field(1, node) for node in self._nodes),
                _field(2, self._name.encode()),
                *(_field(5, tensor) for tensor in self._constants),
                *(_field(11, value) for value in self._inputs),
                *(_field(12, value) for value in self._outputs),
            )
        )
        opsets = [("", OPSET), (CONTRIB, 1)]
        return b"".join(
            (
                _int_field(1, IR_VERSION),
                _field(2, b"backtalk"),
                _field(7, graph),
                *(_field(8, _field(1, d.encode()) + _int_field(2, v)) for d, v in opsets),
            )
        )

    def _fresh(self, kind: str) -> str:
        self._names += 1
        return f"{kind}_{self._names}"

    def _add(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        domain: str,
        attributes: dict[str, Attribute],
    ) -> None:
        self._nodes.append(
            b"".join(
                (
                    *(_field(1, x.encode()) for x in inputs),
                    *(_field(2, y.encode()) for y in outputs),
                    _field(4, kind.encode()),
                    *(_field(5, _attribute(key, value)) for key, value in attributes.items()),
                    _field(7, domain.encode()),
                )
            )
        )


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers take ten bytes
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _int_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _tensor(name: str, array: np.ndarray) -> bytes:
    dimensions = b"".join(_int_field(1, size) for size in array.shape)
    kind = _int_field(2, _TYPES[array.dtype.name])
    little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return dimensions + kind + _field(8, name.encode()) + _field(9, little_endian.tobytes())


def _value_info(name: str, shape: Sequence[int]) -> bytes:
    dimensions = b"".join(_field(1, _int_field(1, size)) for size in shape)
    tensor_type = _int_field(1, _TYPES["float32"]) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor_type))


def _attribute(name: str, value: Attribute) -> bytes:
    head = _field(1, name.encode())
    if isinstance(value, float):
        return head + _varint(2 << 3 | 5) + struct.pack("<f", value) + _int_field(20, _FLOAT)
    if isinstance(value, int):
        return head + _int_field(3, value) + _int_field(20, _INT)
    return head + b"".join(_int_field(8, i) for i in value) + _int_field(20, _INTS)
