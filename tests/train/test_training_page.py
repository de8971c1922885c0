"""The commands of docs/training.md are commands of this version, down to their options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backtalk.cli.main import app
from backtalk.train.recipes.table import RECIPES

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```\n(.*?)```", PAGE, flags=re.S)
    for line in block.splitlines()
    if line.startswith("backtalk ")
]


def test_every_recipe_is_on_the_page() -> None:
    shown = {words[2] for words in map(shlex.split, COMMANDS) if words[1] == "train"}
    assert shown >= set(RECIPES)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_understood(command: str) -> None:
    words = shlex.split(command)[1:]
    command_only = [word for word in words if word != "--list"]  # it would answer in help's place
    result = CliRunner().invoke(app, [*command_only, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for option in (word for word in words if word.startswith("--")):
        assert option in result.output
    if words[0] == "train" and words[1] in RECIPES:
        pytest.importorskip("lightning_fabric")
        pairs = zip(words, words[1:], strict=False)
        RECIPES[words[1]].read_settings([after for word, after in pairs if word == "--set"])
