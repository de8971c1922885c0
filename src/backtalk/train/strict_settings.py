"""Turns a table from a file into settings; what the settings do not know is an error."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from backtalk.errors import ConfigError

S = TypeVar("S")


def strict_settings(kind: type[S], table: Any, where: str) -> S:
    """Make settings of a dataclass from a table.

    Args:
        kind: a dataclass whose fields are numbers, booleans and strings.
        table: as read from JSON or YAML.
        where: what the table was read from, for the message.
    Raises:
        ConfigError: a key is unknown (the nearest one is named), missing or of a wrong type.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: holds {type(table).__name__}, not a table of settings")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}" if near else f"it may have {', '.join(known)}"
            raise ConfigError(f"{where}: unknown setting {key!r}; {hint}?")
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in table:
            values[name] = _checked(table[name], str(field.type), f"{where}: {name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}: the setting {name!r} is missing")
    return kind(**values)


def _checked(value: Any, type_name: str, where: str) -> Any:
    """The value if it is of that type; a whole number may stand for a float."""
    kinds = {"int": int, "float": (int, float), "str": str, "bool": bool}
    if type_name not in kinds:
        raise TypeError(f"{where}: settings of type {type_name} are not supported")
    is_wrong_bool = isinstance(value, bool) and type_name != "bool"
    if is_wrong_bool or not isinstance(value, kinds[type_name]):  # type: ignore[arg-type]
        raise ConfigError(f"{where} is {value!r}, but it must be of type {type_name}")
    return float(value) if type_name == "float" else value
