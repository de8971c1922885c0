"""`NAME=VALUE` on the command line to arguments of a plug-in's builder, by the builder's signature.

So every option that a plug-in has can be given to every command that uses it, and no command has to
know them.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from backtalk.errors import ConfigError


def plugin_options(flag: str, group: str, name: str, changes: list[str]) -> dict[str, Any]:
    """Turn `NAME=VALUE` pairs into arguments.

    A value becomes what the signature says: true or false, a whole number, a number or text. Of a
    builder that takes any option it stays text.

    Args:
        flag: where they were given, for messages.
        group: such as `backtalk.tts`.
        name: of the plug-in.
    Raises:
        ConfigError: no such plug-in or option, one given twice, or a value it cannot take.
    """
    from backtalk.cascade.plugins import find

    parameters = list(inspect.signature(find(group, name)).parameters.values())[1:]
    known = {p.name: p for p in parameters if p.kind is not p.VAR_KEYWORD}
    takes_any = len(known) < len(parameters)
    options: dict[str, Any] = {}
    for change in changes:
        option, separator, text = change.partition("=")
        if not separator or not (option in known or takes_any):
            raise ConfigError(
                f"{flag} {change!r}: use NAME=VALUE with an option of {name}: {', '.join(known)}"
            )
        if option in options:
            raise ConfigError(f"{flag} {change!r}: {option} was given before; give it once")
        options[option] = _value(flag, change, text, known.get(option))
    return options


def _value(flag: str, change: str, text: str, parameter: inspect.Parameter | None) -> Any:
    if parameter is None or parameter.annotation is parameter.empty:
        return text
    kinds = set(re.findall(r"\w+", inspect.formatannotation(parameter.annotation)))
    if "bool" in kinds and text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        if kind.__name__ in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    if "str" in kinds or not kinds & {"bool", "int", "float"}:
        return text
    if "bool" in kinds:
        wanted = "true or false"
    else:
        wanted = "a number" if "float" in kinds else "a whole number"
    raise ConfigError(f"{flag} {change}: needs {wanted}")
