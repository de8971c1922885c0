"""`backtalk train RECIPE` and `--list`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from backtalk.cli.train_recipes import add_recipes, print_recipes
from backtalk.errors import BacktalkError
from backtalk.train.recipes.table import RECIPES


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)

    @app.callback()
    def _root(
        is_listing: Annotated[
            bool, typer.Option("--list", callback=print_recipes, is_eager=True)
        ] = False,
    ) -> None:
        """Train."""

    add_recipes(app)
    return app


def test_a_list_names_every_recipe(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["--list"])
    assert result.exit_code == 0
    for name, recipe in RECIPES.items():
        assert re.search(rf"^{name}  +{re.escape(recipe.summary)}$", result.output, re.M)


def test_every_recipe_explains_itself(app: typer.Typer) -> None:
    for name in RECIPES:
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert "--data" in result.output


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--precision", "8"], "--precision 8"),
        (["--devices", "0"], "--devices"),
        (["--set", "widht=3"], "did you mean 'width'"),
        (["--set", "steps=0"], "steps is 0"),
    ],
)
def test_a_wrong_option_is_refused(
    app: typer.Typer, tmp_path: Path, options: list[str], shown: str
) -> None:
    pytest.importorskip("torch")
    arguments = ["mimi-mini", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, BacktalkError)
    assert shown in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_listing_loads_no_model_library() -> None:
    code = (
        "import sys, backtalk.cli.train_recipes; "
        "print([name for name in ('torch', 'numpy', 'lightning_fabric', 'yaml') "
        "if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"
