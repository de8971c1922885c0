"""`backtalk bench`: measurements that anyone can repeat."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.agent_options import (
    AgentChoice,
    AsrOption,
    JsonOption,
    LlmModelOption,
    LlmOption,
    LlmUrlOption,
    SetOption,
    SystemOption,
    TtsOption,
    turn_settings,
)
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from backtalk.bench.latency import Variant, VariantResult
    from backtalk.session.settings import TurnSettings

app = typer.Typer(help="Measure.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Measurements that anyone can repeat."""


@app.command()
def latency(
    folder: Annotated[Path, typer.Argument(help="Folder of recorded questions.")],
    turns: Annotated[
        int | None, typer.Option(help="How many questions; more than there are repeats them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Report to write: OUT.json and OUT.png beside it.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Another variant beside the first, e.g. --compare speculate=false. Repeatable; "
            "several settings of one variant are joined by commas."
        ),
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option("--realtime/--fast", help="--fast skips the silences instead of waiting."),
    ] = True,
    max_tokens: Annotated[int, typer.Option(help="Length of a reply, to keep the run short.")] = 16,
    system: SystemOption = "cascade",
    asr: AsrOption = None,
    llm: LlmOption = None,
    llm_url: LlmUrlOption = None,
    llm_model: LlmModelOption = None,
    tts: TtsOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Time from the last word of a question to the first of its reply, stage by stage.

    Example: backtalk bench latency benchmarks/questions/plain --compare speculate=false
    """
    import asyncio

    from rich.console import Console

    from backtalk.bench.latency import measure_latency, measure_overhead, read_questions, report
    from backtalk.latency.picture import draw_percentiles
    from backtalk.stream.clock import run_virtual
    from backtalk.systems import TurnAgent, build_agent

    if turns is not None and turns < 1:
        raise ConfigError(f"--turns must be at least 1, not {turns}")
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"{out} cannot be written: make the folder {out.parent} first")
    settings = turn_settings(set_)
    variants = _variants(settings, set_ or [], compare or [])
    questions = read_questions(folder, turns)
    choice = AgentChoice(system, asr, llm, llm_url, llm_model, tts)
    console = Console(stderr=True, quiet=json)

    async def measure() -> tuple[list[VariantResult], dict[str, object]]:
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        with console.status(f"loading {system} and warming it up"):
            agent = build_agent(system, **choice.builder_options(), max_tokens=max_tokens)
            await agent.warm_up()
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=json) as progress:
            task = progress.add_task("first audio", total=len(questions) * len(variants))

            def show(variant: Variant, exchange: object) -> None:
                ttfa_ms = getattr(exchange, "ttfa_ms", None)
                said = f"{ttfa_ms:.0f} ms" if ttfa_ms is not None else "no reply"
                progress.update(task, advance=1, description=f"{variant.name}: {said}")

            overhead = None
            if realtime and isinstance(agent, TurnAgent):
                overhead = await measure_overhead(agent, settings)
            results = await measure_latency(agent, questions, variants, show)
        await agent.close()
        return results, report(agent, results, overhead)

    if realtime:
        results, found = asyncio.run(measure())
    else:
        results, found = run_virtual(measure(), counts_work=True)
    found["realtime"] = realtime
    if out is not None:
        out.with_suffix(".json").write_text(json_text.dumps(found, indent=1) + "\n")
        curves = {result.variant.name: result.turns() for result in results}
        draw_percentiles(
            out.with_suffix(".png"), curves, f"{system}: the median turn, stage by stage"
        )
    if json:
        typer.echo(json_text.dumps(found))
    else:
        _print(results, found, out)


def _variants(settings: TurnSettings, base: list[str], compare: list[str]) -> list[Variant]:
    from backtalk.bench.latency import Variant

    variants = [Variant("default" if not base else ", ".join(base), settings)]
    for text in compare:
        variants.append(Variant(text, turn_settings([*base, *text.split(",")])))
    return variants


def _print(results: list[VariantResult], found: dict[str, object], out: Path | None) -> None:
    from rich.console import Console

    from backtalk.latency.table import percentile_table

    console = Console()
    stats = {result.variant.name: result.stats() for result in results}
    console.print(percentile_table(stats, "From the last speech sample to the first audible one"))
    for result in results:
        summary = result.as_dict()
        console.print(
            f"{result.variant.name}: {summary['answered']} of {summary['questions']} answered, "
            f"{len(summary['cut'])} cut, {summary['underruns']} underruns, "
            f"{summary['speculations_thrown_away']} speculations thrown away, "
            f"rtf p50 {summary['rtf']['p50'] if summary['rtf'] else '-'}, the pipeline itself "
            f"{summary['pipeline_cpu_ms']['p50'] if summary['pipeline_cpu_ms'] else '-'} ms a turn",
            highlight=False,
        )
    if found["overhead"]:
        console.print(f"overhead: {found['overhead']}", highlight=False)
    if out is not None:
        console.print(f"wrote {out.with_suffix('.json')} and .png", highlight=False)
