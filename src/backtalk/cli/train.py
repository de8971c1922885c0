"""`backtalk train`: the corpus of the miniatures."""

from __future__ import annotations

import json as json_text
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.agent_options import JsonOption
from backtalk.cli.train_llvc_data import llvc_data
from backtalk.cli.train_recipes import add_recipes, print_recipes
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from backtalk.train.minitalk.generate import Generated

app = typer.Typer(help="Make data for the miniatures and train them.", no_args_is_help=True)


@app.callback()
def _root(
    is_listing: Annotated[
        bool,
        typer.Option("--list", callback=print_recipes, is_eager=True, help="Name the recipes."),
    ] = False,
) -> None:
    """Make data for the miniatures and train them."""


@app.command("minitalk-data")
def minitalk_data(
    out: Annotated[Path, typer.Option(help="Folder to make, or to go on with.")],
    hours: Annotated[
        float | None, typer.Option(help="Of questions, and as many of answers; 20 by default.")
    ] = None,
    subset: Annotated[
        str | None, typer.Option(help="test: five minutes in all, made in less than a minute.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of texts, voices and noise.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Processes at once; one per processor by default.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make MiniTalk: spoken questions and answers of a small world, with the time of every word.

    Stopped at any moment, even killed, it goes on where it was when run again. The format is
    described in DIR/README.md, which is written at the end.

    Example: backtalk train minitalk-data --out minitalk --subset test
    """
    from backtalk.train.minitalk.plan import SUBSETS, MiniTalkSettings

    if subset is not None and hours is not None:
        raise ConfigError("--hours and --subset exclude each other; give one of them")
    if subset is not None and subset not in SUBSETS:
        raise ConfigError(f"--subset {subset}: there is only {', '.join(SUBSETS)}")
    if hours is not None and not (math.isfinite(hours) and 0.02 <= hours <= 1000):
        raise ConfigError(f"--hours {hours:g}: give 0.02 to 1000")
    if jobs is not None and not 1 <= jobs <= 256:
        raise ConfigError(f"--jobs {jobs}: give 1 to 256")
    wanted_h = SUBSETS[subset] if subset is not None else hours if hours is not None else 20.0
    settings = MiniTalkSettings(hours=round(wanted_h, 4), seed=seed)
    done = _generate(out, settings, jobs or os.cpu_count() or 1, is_quiet=json)
    report = _report(done)
    if json:
        typer.echo(json_text.dumps(report))
        return
    typer.echo(
        f"{out}: {report['questions_h']:.2f} h of questions and {report['answers_h']:.2f} h of "
        f"answers, {report['turns']} turns, {report['held_out_test']} held out for the test"
    )
    if report["times_real_time_per_core"] is not None:
        typer.echo(
            f"made {report['shards_made']} of {report['shards']} shards, "
            f"{report['times_real_time_per_core']:.1f} times real time per core"
        )


def _generate(out: Path, settings: Any, jobs: int, is_quiet: bool) -> Generated:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from backtalk.train.minitalk.generate import generate

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, quiet=is_quiet)
    with Progress(*columns, console=console, disable=is_quiet) as progress:
        task = progress.add_task("shards", total=None)

        def begin(missing: int, planned: int) -> None:
            progress.update(task, total=planned, completed=planned - missing)

        return generate(
            out,
            settings,
            jobs,
            on_shard=lambda plan, made: progress.update(task, advance=1, description=plan.name),
            on_begin=begin,
        )


def _report(done: Generated) -> dict[str, Any]:
    from backtalk.machine import describe_machine

    speed = done.times_real_time_per_core
    parts = done.contents.values()
    return {
        "out": str(done.corpus.folder),
        "settings": done.corpus.settings.as_dict(),
        "questions_h": round(sum(part.question_s for part in parts) / 3600, 4),
        "answers_h": round(sum(part.answer_s for part in parts) / 3600, 4),
        "turns": sum(part.turns for part in parts),
        "held_out_test": done.contents["test"].held_out,
        "shards": len(done.corpus.plans),
        "shards_made": len(done.made),
        "wall_s": round(done.wall_s, 1),
        "times_real_time_per_core": None if speed is None else round(speed, 2),
        "splits": {name: part.as_dict() for name, part in done.contents.items()},
        "machine": describe_machine(),
    }


app.command("llvc-data")(llvc_data)
add_recipes(app)
