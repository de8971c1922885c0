"""`backtalk bench`: measurements that anyone can repeat."""

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
    SetOption,
    SystemOption,
    TtsOption,
    TtsOptionOption,
    turn_settings,
)
from backtalk.cli.bench_codec import codec
from backtalk.cli.bench_llvc import llvc
from backtalk.cli.bench_rvq import rvq
from backtalk.cli.report_files import check_report_folder, write_report
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from backtalk.bench.echo_stream import Target
    from backtalk.bench.latency import Variant, VariantResult
    from backtalk.session.settings import TurnSettings
    from backtalk.talk import Exchange, Question

TokenOption = Annotated[
    str | None,
    typer.Option(envvar="BACKTALK_TOKEN", help="Key for the server."),
]

MAX_TOKENS = 16

app = typer.Typer(help="Measure.", no_args_is_help=True)
app.command()(rvq)
app.command()(codec)
app.command()(llvc)


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
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Longest reply, to keep the run short; 16, a server's own with --url."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="Measure a Realtime server instead, e.g. ws://127.0.0.1:8765/v1/realtime"
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --url: the model to ask for.")] = None,
    turn_detection: Annotated[
        str | None,
        typer.Option(help="With --url: server_vad or semantic_vad; else the server decides."),
    ] = None,
    token: TokenOption = None,
    system: SystemOption = "cascade",
    asr: AsrOption = None,
    llm: LlmOption = None,
    llm_url: LlmUrlOption = None,
    llm_model: LlmModelOption = None,
    tts: TtsOption = None,
    tts_option: TtsOptionOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Time from the last word of a question to the first of its reply, stage by stage.

    With --url the agent is a server's, and only what its client sees is measured.

    Example: backtalk bench latency benchmarks/questions/plain --compare speculate=false
    """
    import asyncio

    from rich.console import Console

    from backtalk.bench.latency import measure_latency, measure_overhead, read_questions, report
    from backtalk.latency.picture import draw_percentiles
    from backtalk.stream.clock import run_virtual
    from backtalk.systems import TurnAgent, build_agent

    for name, number in (("turns", turns), ("max-tokens", max_tokens)):
        if number is not None and number < 1:
            raise ConfigError(f"--{name} must be at least 1, not {number}")
    check_report_folder(out)
    questions = read_questions(folder, turns)
    if url is not None:
        _measure_server(url, model, token, turn_detection, max_tokens, questions, out, json)
        return
    settings = turn_settings(set_)
    variants = _variants(settings, set_ or [], compare or [])
    choice = AgentChoice(system, asr, llm, llm_url, llm_model, tts, tts_option)
    console = Console(stderr=True, quiet=json)

    async def measure() -> tuple[list[VariantResult], dict[str, object]]:
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        with console.status(f"loading {system} and warming it up"):
            agent = build_agent(
                system, **choice.builder_options(), max_tokens=max_tokens or MAX_TOKENS
            )
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
    curves = {result.variant.name: result.turns() for result in results}
    title = f"{system}: the median turn, stage by stage"
    write_report(out, found, lambda png: draw_percentiles(png, curves, title))
    if json:
        typer.echo(json_text.dumps(found))
    else:
        _print(results, found, out)


def _measure_server(
    url: str,
    model: str | None,
    token: str | None,
    turn_detection: str | None,
    max_tokens: int | None,
    questions: list[Question],
    out: Path | None,
    json: bool,
) -> None:
    import asyncio

    from rich.console import Console

    from backtalk.bench.echo_stream import Target
    from backtalk.bench.remote_latency import (
        draw_remote_latency,
        measure_remote_latency,
        remote_report,
    )

    if turn_detection not in (None, "server_vad", "semantic_vad"):
        raise ConfigError(f"--turn-detection {turn_detection}: use server_vad or semantic_vad")
    console = Console(stderr=True, quiet=json, highlight=False)

    def show(exchange: Exchange) -> None:
        said = f"{exchange.ttfa_ms:.0f} ms" if exchange.ttfa_ms is not None else "no reply"
        console.print(f"{exchange.question}: {said} {' '.join(exchange.errors)}")

    target = Target(url, model, token)
    result = asyncio.run(
        measure_remote_latency(target, turn_detection, max_tokens, questions, show)
    )
    found = remote_report(target, result)
    found["realtime"] = True
    write_report(out, found, lambda png: draw_remote_latency(png, target, result))
    if json:
        typer.echo(json_text.dumps(found))
    else:
        _print([result], found, out)


@app.command()
def load(
    url: Annotated[str, typer.Option(help="Server, e.g. ws://127.0.0.1:8765/v1/realtime")],
    model: Annotated[str, typer.Option(help="A system that gives its input back.")] = "echo",
    profile: Annotated[
        str,
        typer.Option(
            help="steady, storm (500 connects in 5 s), churn (connects that leave) or talk "
            "(conversations with interruptions; needs --questions)."
        ),
    ] = "steady",
    sessions: Annotated[
        int | None, typer.Option(help="At once; 64, of a churn 32, of talk 16.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Audio per session; 60 s, of a churn 2 s.")
    ] = None,
    connects: Annotated[
        int | None, typer.Option(help="Of a storm (500) or in all of a churn (10000).")
    ] = None,
    frame_ms: Annotated[int, typer.Option(help="Audio per message, a multiple of 20.")] = 20,
    slow_readers: Annotated[
        int, typer.Option(help="Sessions of a steady run that stop reading for 10 s.")
    ] = 0,
    kill: Annotated[
        int, typer.Option(help="Sessions of a steady run that vanish in the middle.")
    ] = 0,
    questions: Annotated[
        Path | None, typer.Option(help="Folder of recorded questions, for talk.")
    ] = None,
    token: TokenOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Report to write: OUT.json and OUT.png beside it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Frames lost, mixed up and delayed by a server with many sessions. Fails if over its limits.

    Example: backtalk serve --system echo, then in another terminal
    backtalk bench load --url ws://127.0.0.1:8765/v1/realtime --seconds 20
    """
    import asyncio

    from rich.console import Console

    from backtalk.bench.echo_stream import Target
    from backtalk.bench.load import PROFILES, LoadPlan, run_load
    from backtalk.bench.load_report import draw_load, load_report

    if profile not in (*PROFILES, "talk"):
        raise ConfigError(f"--profile {profile}: use one of {', '.join(PROFILES)}, talk")
    if (profile == "talk") != (questions is not None):
        raise ConfigError("--questions FOLDER goes with --profile talk, and only with it")
    if sessions is None:
        sessions = {"churn": 32, "talk": 16}.get(profile, 64)
    if frame_ms < 20 or frame_ms % 20:
        raise ConfigError(f"--frame-ms must be a multiple of 20, not {frame_ms}")
    if sessions < 1 or (seconds is not None and seconds <= 0):
        raise ConfigError("--sessions and --seconds must be more than 0")
    if slow_readers + kill > sessions:
        raise ConfigError("--slow-readers and --kill are more than there are --sessions")
    check_report_folder(out)
    if questions is not None:
        _load_with_talk(Target(url, model, token), questions, sessions, seconds or 60.0, out, json)
        return
    plan = LoadPlan(
        Target(url, model, token, frame_ms // 20),
        profile,
        sessions,
        seconds if seconds is not None else (2.0 if profile == "churn" else 60.0),
        connects if connects is not None else (10_000 if profile == "churn" else 500),
        slow_readers,
        kill,
    )
    console = Console(stderr=True, quiet=json)
    with console.status("connecting") as status:
        found = load_report(asyncio.run(run_load(plan, status.update)))
    write_report(out, found, lambda png: draw_load(png, found))
    if json:
        typer.echo(json_text.dumps(found))
    else:
        _print_load(found, out)
    if not found["passed"]:
        raise typer.Exit(1)


def _print_load(found: dict[str, Any], out: Path | None) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    connects, server = found["connects"], found["server"]
    console.print(
        f"{found['frames']['sent']:,} frames of {connects['accepted']:,} sessions; "
        f"added ms {found['latency_ms']}; this client was late by ms {found['client_late_ms']}"
    )
    console.print(f"connect to ready ms {connects['ready_ms']}; refused {connects['refused']}")
    console.print(
        f"memory {server['memory']}; server CPU per frame {server['cpu_us_per_frame']} us; "
        f"closes {found['closes']}; errors {found['errors']}"
    )
    if found["slow_readers"]:
        console.print(f"slow readers {found['slow_readers']}")
    console.print(_limits_table(found))
    if out is not None:
        console.print(f"wrote {out.with_suffix('.json')} and .png")


def _load_with_talk(
    target: Target,
    folder: Path,
    conversations: int,
    seconds: float,
    out: Path | None,
    json: bool,
) -> None:
    import asyncio

    from rich.console import Console

    from backtalk.bench.latency import read_questions
    from backtalk.bench.talk_load import run_talk_load, talk_report

    questions = read_questions(folder, None)
    with Console(stderr=True, quiet=json).status("talking") as status:
        run = asyncio.run(run_talk_load(target, questions, conversations, seconds, status.update))
    found = talk_report(run)
    write_report(out, found)
    if json:
        typer.echo(json_text.dumps(found))
    else:
        console = Console(highlight=False)
        console.print(
            f"{found['answered']} of {found['questions']} questions answered, "
            f"{found['interrupted']} replies interrupted; first audio ms {found['ttfa_ms']}; "
            f"barge-in ms {found['barge_in_ms']}"
        )
        for error in found["errors"]:
            console.print(error)
        console.print(_limits_table(found))
    if not found["passed"]:
        raise typer.Exit(1)


def _limits_table(found: dict[str, Any]) -> Table:
    from rich.table import Table

    is_doubled = found.get("is_busy", False)
    table = Table(title="Limits" + (", doubled: this machine is busy" if is_doubled else ""))
    for name in ("", "found", "limit"):
        table.add_column(name, justify="right" if name else "left")
    for check in found["checks"]:
        style = None if check["ok"] else "bold red"
        table.add_row(check["name"], f"{check['value']:g}", f"{check['limit']:g}", style=style)
    return table


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
