"""`backtalk train llvc-data`: pairs to learn a voice conversion from."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from backtalk.train.conversion.teacher import Teacher


def llvc_data(
    out: Annotated[Path, typer.Option(help="Folder to make, or to go on with.")],
    hours: Annotated[float, typer.Option(help="Of pairs to learn from.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Of texts, voices and noise.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Processes at once; one per processor by default.")
    ] = None,
    rvc: Annotated[
        Path | None,
        typer.Option(help="An RVC v2 voice (.pth) as the teacher, for your own target."),
    ] = None,
    rvc_models: Annotated[
        Path | None, typer.Option(help="Folder with hubert_base and rmvpe.pt, for --rvc.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of speech that --rvc converts.")
    ] = None,
) -> None:
    """Make pairs for `backtalk train llvc`: somebody, and the target saying the same in step.

    Without --rvc everything comes out of packages; the target is hibari's heart. Stopped at any
    moment, even killed, it goes on where it was when run again.

    Example: backtalk train llvc-data --out pairs --hours 2
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from backtalk.train.conversion.make_pairs import make_pairs

    if not (math.isfinite(hours) and 0.005 <= hours <= 1000):
        raise ConfigError(f"--hours {hours:g}: give 0.005 to 1000")
    if jobs is not None and not 1 <= jobs <= 256:
        raise ConfigError(f"--jobs {jobs}: give 1 to 256")
    teacher = _teacher(rvc, rvc_models, recordings)
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("shards", total=None)
        make_pairs(
            out,
            teacher,
            hours,
            seed,
            jobs or os.cpu_count() or 1,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    typer.echo(f"{out}: {hours:g} h of pairs, target {teacher.target}")


def _teacher(rvc: Path | None, models: Path | None, recordings: Path | None) -> Teacher:
    if rvc is None:
        if models is not None or recordings is not None:
            raise ConfigError("--rvc-models and --recordings are for --rvc; give that, too")
        from backtalk.train.conversion.spoken_teacher import SpokenTeacher

        return SpokenTeacher()
    if models is None or recordings is None:
        raise ConfigError("--rvc needs --rvc-models and --recordings")
    from backtalk.train.conversion.rvc_teacher import RvcTeacher

    return RvcTeacher(rvc, models, recordings)
