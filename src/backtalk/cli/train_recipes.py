"""`backtalk train RECIPE` and `backtalk train --list`: one command per recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from backtalk.errors import ConfigError
from backtalk.train.recipe import Recipe
from backtalk.train.recipes.table import RECIPES


def add_recipes(app: typer.Typer) -> None:
    """Add a command for every recipe."""
    for recipe in RECIPES.values():
        app.command(recipe.name, help=_help(recipe))(_command(recipe))


def print_recipes(is_asked: bool) -> None:
    """The callback of `--list`: name every recipe, then end."""
    if is_asked:
        width = max(len(name) for name in RECIPES)
        for name, recipe in RECIPES.items():
            typer.echo(f"{name:{width}}  {recipe.summary}")
        raise typer.Exit


def _help(recipe: Recipe) -> str:
    return (
        f"{recipe.summary}\n\n"
        "Stopped by Ctrl-C or killed, it goes on when the same command is run again, as if it had "
        "never been stopped. It ends with weights, model card and curves in the folder OUT.\n\n"
        f"Example: backtalk train {recipe.name} --data {recipe.data} --out {recipe.name}"
    )


def _command(recipe: Recipe) -> Callable[..., None]:
    def run(
        data: Annotated[
            Path, typer.Option(help="What a data command made, or any folder of recordings.")
        ],
        out: Annotated[Path, typer.Option(help="Folder of the run; made, or gone on with.")],
        config: Annotated[
            Path | None, typer.Option(help="YAML file of settings that differ from the recipe's.")
        ] = None,
        set_: Annotated[
            list[str] | None, typer.Option("--set", help="key=value; may be given repeatedly.")
        ] = None,
        devices: Annotated[int, typer.Option(help="How many processors or GPUs.")] = 1,
        accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
        precision: Annotated[str, typer.Option(help="32-true or bf16-mixed.")] = "32-true",
        threads: Annotated[
            int | None, typer.Option(help="Of PyTorch on the CPU, per device.")
        ] = None,
    ) -> None:
        _train(recipe, data, out, config, set_ or [], devices, accelerator, precision, threads)

    return run


def _train(
    recipe: Recipe,
    data: Path,
    out: Path,
    config: Path | None,
    changes: list[str],
    devices: int,
    accelerator: str,
    precision: str,
    threads: int | None,
) -> None:
    try:
        import torch
    except ImportError as error:
        raise ConfigError("training needs PyTorch; pip install 'backtalk[train]'") from error

    from backtalk.train.harness import PRECISIONS, Hardware, train

    known = [name for name in PRECISIONS if name == precision]
    if not known:
        raise ConfigError(f"--precision {precision}: give {' or '.join(PRECISIONS)}")
    if devices < 1 or (threads is not None and threads < 1):
        raise ConfigError("--devices and --threads must be 1 or more")
    if threads is not None:
        torch.set_num_threads(threads)
    settings = recipe.read_settings(changes, config)
    with _ProgressBar() as bar:
        card = train(recipe, settings, data, out, Hardware(accelerator, devices, known[0]), bar)
    typer.echo(f"{card.parent}: weights, curves and {card.name}")


class _ProgressBar:
    """A `Watcher` that shows the last logged scalars beside a bar; it pulses until training begins.

    The first run of a recipe decodes or encodes its data before that, which takes minutes.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("preparing data and model", total=None)

    def __enter__(self) -> _ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def begin(self, first_step: int, steps: int) -> None:
        self._progress.reset(self._task, total=steps, completed=first_step, description="")

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        self._progress.update(self._task, completed=step)
        if values:
            shown = "  ".join(
                f"{name} {value:.3g}" for name, value in values.items() if "/" not in name
            )
            self._progress.update(self._task, description=shown)
