"""Several numbers in one setting of a recipe."""

from __future__ import annotations

from backtalk.errors import ConfigError


def number_list(name: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them.

    Args:
        name: of the setting, for the message.
    Raises:
        ConfigError: something else.
    """
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}; give whole numbers with commas") from error
