"""Finds stages and systems by name among the entry points of all installed packages.

A builder is called as `build(store: ModelStore, **options)`. Its package names it in
`pyproject.toml`, under one of the groups `backtalk.asr`, `backtalk.llm`, `backtalk.tts`,
`backtalk.vad`, `backtalk.segmenter` and `backtalk.systems`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from importlib import metadata
from typing import Any

from backtalk.errors import ConfigError


def names(group: str) -> list[str]:
    """The plug-ins of a group, sorted. Imports none of them."""
    return sorted({entry.name for entry in metadata.entry_points(group=group)})


def find(group: str, name: str) -> Callable[..., Any]:
    """The builder that a plug-in is made with.

    Args:
        group: such as `backtalk.tts`.
        name: such as `hibari`.

    Raises:
        ConfigError: no such plug-in, two packages offer one of that name, or it needs a package
            that is not installed. The builder raises it too: for an option it does not have, and
            for a missing package that it imports late.
    """
    kind = group.rpartition(".")[2]
    # One package can be seen twice, as when it is installed and its source is on the path as well.
    offers = {
        (_package(entry), entry.value): entry
        for entry in metadata.entry_points(group=group)
        if entry.name == name
    }
    if not offers:
        installed = ", ".join(names(group)) or "none"
        raise ConfigError(f"no {kind} plug-in is called {name!r}; installed: {installed}")
    if len(offers) > 1:
        rivals = ", ".join(f"{package} ({value})" for package, value in sorted(offers))
        raise ConfigError(
            f"{kind} plug-in {name!r} is offered by several packages: {rivals}; "
            "uninstall all but one"
        )
    (entry,) = offers.values()
    return _load(entry, f"{kind} plug-in {name!r}")


def _load(entry: metadata.EntryPoint, label: str) -> Callable[..., Any]:
    try:
        build = entry.load()
    except ModuleNotFoundError as error:
        raise _missing(entry, label, error) from error
    except Exception as error:
        raise ConfigError(
            f"{label} of package {_package(entry)} cannot be loaded: "
            f"{type(error).__name__}: {_one_line(error)}"
        ) from error
    if not callable(build):
        raise ConfigError(
            f"{label} of package {_package(entry)} is not a builder: {entry.value} is "
            f"a {type(build).__name__}"
        )

    @functools.wraps(build)
    def build_or_say_what_is_wrong(*args: Any, **options: Any) -> Any:
        _check_options(build, label, options)
        try:
            return build(*args, **options)
        except ModuleNotFoundError as error:
            raise _missing(entry, label, error) from error

    return build_or_say_what_is_wrong


def _check_options(build: Callable[..., Any], label: str, options: dict[str, Any]) -> None:
    parameters = list(inspect.signature(build).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    if unknown := [name for name in options if name not in known]:
        raise ConfigError(
            f"{label} has no option {', '.join(unknown)}; it knows {', '.join(known) or 'none'}"
        )


def _missing(entry: metadata.EntryPoint, label: str, error: ModuleNotFoundError) -> ConfigError:
    module = (error.name or "").partition(".")[0]
    package = _package(entry)
    if not module or module == entry.module.partition(".")[0]:
        return ConfigError(
            f"{label} of package {package} cannot be loaded: {_one_line(error)}; "
            f"run `pip install --force-reinstall {package}`"
        )
    extra = _extra_for(entry, module)
    wanted = f"'{package}[{extra}]'" if extra else module
    return ConfigError(
        f"{label} needs {module}, which is not installed; run `pip install {wanted}`"
    )


def _extra_for(entry: metadata.EntryPoint, module: str) -> str | None:
    """The extra of the plug-in's package that brings the module, as far as names tell."""
    extras = entry.dist.metadata.get_all("Provides-Extra") if entry.dist else None
    if not extras:
        return None
    if entry.name in extras:
        return entry.name
    wanted = module.replace("_", "-").lower()
    for requirement in (entry.dist.requires if entry.dist else None) or []:
        match = re.match(r"([\w.-]+).*extra\s*==\s*['\"]([\w.-]+)['\"]", requirement)
        if match and match[1].replace("_", "-").lower().startswith(wanted):
            return match[2]
    return None


def _package(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
