"""A recipe: a short script that trains one model, and the YAML file with its settings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.errors import ConfigError
from backtalk.train.strict_settings import strict_settings
from backtalk.train.training import RunSettings, Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Build = Callable[[Any, Path, Path, "Fabric"], Training]
"""Settings, data folder, the folder of the run and devices in; a new model in training out."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One line of `recipes/table.py`; naming it loads no library.

    Attributes:
        name: on the command line.
        summary: what it trains, in one line.
        module: holds `Settings`, a dataclass, and `build`, a `Build`; the YAML file lies beside it
            under the same name.
        data: the folder it learns from, in examples.
    """

    name: str
    summary: str
    module: str
    data: str = "minitalk"

    def read_settings(self, changes: Sequence[str] = (), file: Path | None = None) -> RunSettings:
        """The recipe's settings.

        Args:
            changes: `key=value`, which count most.
            file: a YAML file of changes, which count less.
        Raises:
            ConfigError: a key is unknown, or a value of a wrong type; a file cannot be read.
        """
        module = importlib.import_module(self.module)
        assert module.__file__ is not None
        own = Path(module.__file__).with_suffix(".yaml")
        table = dict(_read_yaml(own))
        where = str(own)
        if file is not None:
            table |= _read_yaml(file)
            where = str(file)
        for change in changes:
            key, equals, value = change.partition("=")
            if not equals:
                raise ConfigError(f"--set {change}: give key=value")
            table[key.strip()] = _parse_yaml(value, f"--set {change}")
            where = f"--set {change}"
        settings: RunSettings = strict_settings(module.Settings, table, where)
        return settings

    def build(self, settings: RunSettings, data: Path, out: Path, fabric: Fabric) -> Training:
        """A new model in training."""
        module = importlib.import_module(self.module)
        training: Training = module.build(settings, data, out, fabric)
        return training


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); check the file") from error
    table = _parse_yaml(text, str(path))
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: holds no settings; give lines of `key: value`")
    return table


def _parse_yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is no YAML ({' '.join(str(error).split())})") from error
