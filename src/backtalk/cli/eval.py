"""`backtalk eval`: how well systems answer."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.agent_options import (
    AgentChoice,
    AsrOption,
    JsonOption,
    LlmModelOption,
    LlmOption,
    LlmUrlOption,
    TtsOption,
    TtsOptionOption,
)
from backtalk.cli.report_files import check_report_folder, write_report
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from backtalk.eval.judges import Judges
    from backtalk.eval.replies import Reply
    from backtalk.eval.report import Evaluated
    from backtalk.train.minitalk.shard_file import Item


def evaluate(
    systems: Annotated[list[str], typer.Argument(help="Which systems answer, one or several.")],
    corpus: Annotated[
        Path, typer.Option(help="Folder that backtalk train minitalk-data has made.")
    ],
    questions: Annotated[int, typer.Option(help="How many held-out questions at least.")] = 200,
    realtime: Annotated[
        bool,
        typer.Option("--realtime/--fast", help="--fast skips the silences instead of waiting."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Report to write: OUT.json.")] = None,
    asr: AsrOption = None,
    llm: LlmOption = None,
    llm_url: LlmUrlOption = None,
    llm_model: LlmModelOption = None,
    tts: TtsOption = None,
    tts_option: TtsOptionOption = None,
    json: JsonOption = False,
) -> None:
    """Held-out questions of a small world: right answers, clear speech, the right voice, speed.

    A recogniser hears the replies; what the corpus's own answers score is the last row. Stages
    (--asr, --llm, --tts) are those of the cascade. The judges' networks are got with
    `backtalk models get --set eval`.

    Example: backtalk eval cascade --corpus minitalk --questions 20
    """
    from rich.console import Console

    from backtalk.eval.held_out import VOICE_SAMPLES, read_held_out
    from backtalk.eval.judges import load_judges
    from backtalk.eval.replies import true_replies
    from backtalk.eval.report import eval_report, eval_table
    from backtalk.eval.scores import score
    from backtalk.models.store import ModelStore

    check_report_folder(out)
    options = AgentChoice("", asr, llm, llm_url, llm_model, tts, tts_option).builder_options()
    if options and systems != ["cascade"]:
        raise ConfigError(
            "--asr, --llm, --llm-url, --llm-model, --tts and --tts-option go with cascade alone"
        )
    found, items = read_held_out(corpus, questions)
    true = true_replies(items)
    console = Console(stderr=True, quiet=json)
    judges = load_judges(ModelStore.default(), true[:VOICE_SAMPLES])
    reference = score(_judge(judges, "reference", true, console))
    done = [_evaluate(name, options, items, judges, realtime, console) for name in systems]
    report = eval_report(found, reference, done, realtime=realtime)
    write_report(out, report)
    if json:
        typer.echo(json_text.dumps(report))
        return
    Console().print(eval_table(reference, done))
    if out is not None:
        typer.echo(f"wrote {out.with_suffix('.json')}")


def _evaluate(
    name: str,
    options: dict[str, Any],
    items: list[Item],
    judges: Judges,
    realtime: bool,
    console: Console,
) -> Evaluated:
    """Ask first and judge later, so that the judges take no processor from the system."""
    import asyncio

    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from backtalk.eval.replies import ask_all
    from backtalk.eval.report import Evaluated
    from backtalk.eval.scores import score
    from backtalk.stream.clock import run_virtual
    from backtalk.systems import build_agent

    async def ask() -> tuple[list[Reply], dict[str, Any]]:
        with console.status(f"loading {name} and warming it up"):
            agent = build_agent(name, **options)
            await agent.warm_up()
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=console.quiet) as progress:
            task = progress.add_task(f"asking {name}", total=sum(len(i.turns) for i in items))
            replies = await ask_all(agent, items, lambda reply: progress.advance(task))
        await agent.close()
        return replies, agent.details

    replies, details = asyncio.run(ask()) if realtime else run_virtual(ask(), counts_work=True)
    judgements = _judge(judges, name, replies, console)
    return Evaluated(name, details, judgements, score(judgements))


def _judge(judges: Judges, name: str, replies: list[Reply], console: Console) -> Any:
    from rich.progress import track

    return [
        judges.judge(reply)
        for reply in track(
            replies, f"judging {name}", console=console, disable=console.quiet, transient=True
        )
    ]
