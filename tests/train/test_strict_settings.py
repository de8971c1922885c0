"""Settings from a file: a typo is an error that names the nearest setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from backtalk.errors import ConfigError
from backtalk.train.strict_settings import strict_settings


@dataclass(frozen=True)
class Settings:
    steps: int
    learning_rate: float = 1e-3
    name: str = "mini"
    resumes: bool = False


def test_what_is_given_is_taken_and_the_rest_is_the_default() -> None:
    found = strict_settings(Settings, {"steps": 5, "learning_rate": 1}, "x.yaml")
    assert found == Settings(5, 1.0)
    assert isinstance(found.learning_rate, float)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"steps": 5, "learning_rat": 1}, "x.yaml: unknown setting 'learning_rat'; did you mean"),
        ({"steps": 5, "colour": 1}, "it may have steps, learning_rate"),
        ({}, "the setting 'steps' is missing"),
        ({"steps": "5"}, "steps is '5', but it must be of type int"),
        ({"steps": True}, "must be of type int"),
        ({"steps": 1.5}, "must be of type int"),
        ({"steps": 1, "resumes": 1}, "must be of type bool"),
        ({"steps": 1, "name": None}, "must be of type str"),
        ([1], "holds list, not a table"),
        (None, "holds NoneType"),
    ],
)
def test_what_is_wrong_is_said(table: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        strict_settings(Settings, table, "x.yaml")
