"""The `backtalk` command: finds the sub-command, turns errors into one line and exit code 2."""

from __future__ import annotations

import logging
import sys

import typer

from backtalk.cli import bench, codec, doctor, models, train
from backtalk.cli.convert import convert
from backtalk.cli.eval import evaluate
from backtalk.cli.serve import serve
from backtalk.cli.speak import speak
from backtalk.cli.talk import talk
from backtalk.errors import BacktalkError

app = typer.Typer(
    name="backtalk",
    help="Real-time voice-to-voice systems behind one session interface.",
    epilog="First steps: backtalk models get, then backtalk talk question.wav --out reply.wav",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(talk)
app.command()(speak)
app.command()(serve)
app.command()(convert)
app.add_typer(codec.app, name="codec")
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")
app.add_typer(train.app, name="train")
app.command(name="eval")(evaluate)
app.command(name="doctor")(doctor.doctor)


@app.callback()
def _root() -> None:
    """Real-time voice-to-voice systems behind one session interface."""


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(level=logging.WARNING, format="backtalk: %(message)s")
    try:
        app()
    except BacktalkError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped", code=130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _fail(message: str, code: int = 2) -> None:
    one_line = " ".join(message.split())
    typer.echo(f"backtalk: {one_line}", err=True)
    sys.exit(code)
