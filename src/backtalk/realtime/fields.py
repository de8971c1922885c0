"""Reading fields of client events: the value if it makes sense, else an error that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backtalk.errors import ProtocolError


def text(event: Mapping[str, Any], name: str, max_chars: int, default: str | None = None) -> str:
    """A string field; without a `default` it must be there."""
    value = event.get(name, default)
    if not isinstance(value, str):
        raise ProtocolError("invalid_type", f"{name} must be a string", name)
    if len(value) > max_chars:
        raise ProtocolError(
            "string_above_max_length",
            f"{name} has {len(value)} characters; at most {max_chars} are allowed",
            name,
        )
    return value


def number(
    event: Mapping[str, Any], name: str, low: float, high: float, default: float | None = None
) -> float:
    """A number field between two bounds; without a `default` it must be there."""
    value = event.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError("invalid_type", f"{name} must be a number", name)
    if not low <= value <= high:
        raise ProtocolError("invalid_value", f"{name} must be from {low:g} to {high:g}", name)
    return value


def flag(event: Mapping[str, Any], name: str, default: bool) -> bool:
    """A true-or-false field."""
    value = event.get(name, default)
    if not isinstance(value, bool):
        raise ProtocolError("invalid_type", f"{name} must be true or false", name)
    return value


def mapping(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object field; absent or null is an empty one."""
    value = event.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError("invalid_type", f"{name} must be an object", name)
    return value


def items(event: Mapping[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    """A field that is a list of objects; absent or null is an empty one."""
    value = event.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(member, dict) for member in value):
        raise ProtocolError("invalid_type", f"{name} must be a list of objects", name)
    if len(value) > most:
        raise ProtocolError(
            "array_above_max_length", f"{name} has {len(value)} members; at most {most}", name
        )
    return value


def texts(event: Mapping[str, Any], name: str, most: int) -> list[str]:
    """A field that is a list of strings; absent or null is an empty one."""
    value = event.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
        raise ProtocolError("invalid_type", f"{name} must be a list of strings", name)
    if len(value) > most:
        raise ProtocolError(
            "array_above_max_length", f"{name} has {len(value)} members; at most {most}", name
        )
    return value


def one_of(event: Mapping[str, Any], name: str, known: Sequence[str], default: str) -> str:
    """A string field with few values."""
    value = event.get(name, default)
    if value not in known:
        raise ProtocolError("invalid_value", f"{name} must be one of {', '.join(known)}", name)
    return str(value)
