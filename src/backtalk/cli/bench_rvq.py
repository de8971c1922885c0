"""`backtalk bench rvq`: CSM at several depths."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.agent_options import JsonOption
from backtalk.cli.report_files import check_report_folder, write_report
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from backtalk.bench.rvq import Spoken
    from backtalk.csm.files import CsmParts
    from backtalk.eval.replies import Reply


def rvq(
    depths: Annotated[
        str, typer.Option(help="Codes per frame, 1 to 32 or auto, joined by commas.")
    ] = "32,24,20,16,8,auto",
    system: Annotated[str, typer.Option(help="csm, or csm-mini, the small one.")] = "csm",
    model: Annotated[
        Path | None,
        typer.Option(help="Folder with the checkpoint and tokenizer.json, or a csm-mini's file."),
    ] = None,
    codec: Annotated[Path | None, typer.Option(help="File of its Mimi.")] = None,
    random_weights: Annotated[
        int | None, typer.Option(help="A seed; real times without files.")
    ] = None,
    size: Annotated[str, typer.Option(help="Of random weights: 1b or tiny.")] = "1b",
    weights: Annotated[str, typer.Option(help="int4, int8, bfloat16 or float32.")] = "int4",
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the CPU.")] = None,
    temperature: Annotated[float, typer.Option(help="Of the draws.")] = 0.9,
    text: Annotated[str | None, typer.Option(help="One sentence instead of three.")] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="MiniTalk corpus: speak and judge its held-out answers.")
    ] = None,
    sentences: Annotated[int, typer.Option(help="How many of them.")] = 50,
    out: Annotated[
        Path | None, typer.Option(help="Report to write: OUT.json and OUT.png beside it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """First chunk, real-time factor, gaps and underruns of CSM by codebooks per frame.

    With --corpus also how good the speech is: word errors, DNSMOS and voice, beside what the codec
    alone leaves of the corpus's recordings.

    Example: backtalk bench rvq --random-weights 0 --depths 32,16,auto
    """
    wanted = [_depth(part.strip()) for part in depths.split(",")]
    check_report_folder(out)
    if weights not in ("int4", "int8", "bfloat16", "float32"):
        raise ConfigError(f"--weights {weights}: use int4, int8, bfloat16 or float32")
    if size not in ("1b", "tiny"):
        raise ConfigError(f"--size {size}: use 1b or tiny")
    if text is not None and corpus is not None:
        raise ConfigError("--text and --corpus exclude each other; give one of them")
    if threads is not None and threads < 1:
        raise ConfigError(f"--threads must be at least 1, not {threads}")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ConfigError("CSM needs torch; run `pip install 'backtalk[models]'`") from error
    from rich.console import Console

    from backtalk.bench.rvq import SENTENCES, measure_rvq, rvq_row
    from backtalk.bench.rvq_quality_report import draw_quality, quality_table
    from backtalk.bench.rvq_report import draw_rvq, rvq_report, rvq_table
    from backtalk.csm.files import best_device, load_parts, random_parts
    from backtalk.machine import describe_machine
    from backtalk.models.store import ModelStore
    from backtalk.nn.linear import WeightFormat

    if threads is not None:
        torch.set_num_threads(threads)
    place = best_device(device)
    form: WeightFormat = weights  # type: ignore[assignment]
    console = Console(stderr=True, quiet=json)
    true = [] if corpus is None else _answers(corpus, sentences, console)
    with console.status("loading csm") as status:
        if random_weights is not None:
            parts = random_parts(random_weights, size, form, place)
        else:
            chosen = _model(system, model)
            own = None if codec is None else str(codec)
            parts = load_parts(ModelStore.default(), chosen, own, form, place)
        if true:
            texts = [reply.spoken.turn.answer for reply in true]
        else:
            texts = list(SENTENCES) if text is None else [text]
        spoken = measure_rvq(parts, wanted, texts, temperature, status.update)
    found = rvq_report(
        [rvq_row(depth, spoken[depth]) for depth in wanted],
        device=f"{place}, {torch.get_num_threads()} threads" if place == "cpu" else place,
        weights=weights,
        is_random=random_weights is not None,
        machine=describe_machine(),
    )
    found["temperature"] = temperature
    if true:
        found |= _quality(parts, true, spoken, console)
    write_report(out, found, lambda png: draw_quality(png, found) if true else draw_rvq(png, found))
    if json:
        typer.echo(json_text.dumps(found))
        return
    Console().print(quality_table(found) if true else rvq_table(found))
    if out is not None:
        typer.echo(f"wrote {out.with_suffix('.json')} and .png")


def _model(system: str, model: Path | None) -> str | None:
    """The checkpoint that was asked for; None for CSM-1B in the store."""
    from backtalk.models.miniatures import miniature_path

    if system not in ("csm", "csm-mini"):
        raise ConfigError(f"--system {system}: use csm or csm-mini")
    if model is not None:
        return str(model)
    return str(miniature_path("csm-mini")) if system == "csm-mini" else None


def _answers(corpus: Path, sentences: int, console: Console) -> list[Reply]:
    from backtalk.bench.rvq_quality import held_out_answers

    with console.status(f"looking for sentences in {corpus}"):
        return held_out_answers(corpus, sentences)


def _quality(
    parts: CsmParts, true: list[Reply], spoken: dict[int | str, list[Spoken]], console: Console
) -> dict[str, Any]:
    """Judge what was spoken, what the codec leaves of the recordings, and the recordings."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from backtalk.bench.rvq_quality import codec_replies, judge_all, quality_row, spoken_replies
    from backtalk.bench.rvq_quality_report import quality_report
    from backtalk.eval.judges import load_judges
    from backtalk.models.store import ModelStore

    judges = load_judges(ModelStore.default(), true)
    voice = spoken_replies(true, spoken)
    codec = codec_replies(parts.mimi, true, list(spoken))
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console.quiet) as progress:
        total = sum(len(row) for heard in (voice, codec) for row in heard.values()) + len(true)
        task = progress.add_task("judging", total=total)

        def row(depth: int | str, replies: Sequence[Reply]) -> dict[str, Any]:
            judged = judge_all(judges, replies, lambda: progress.advance(task))
            return quality_row(depth, judged)

        return quality_report(
            [row(depth, replies) for depth, replies in voice.items()],
            [row(depth, replies) for depth, replies in codec.items()],
            row("all", true),
        )


def _depth(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or not 1 <= int(text) <= 32:
        raise ConfigError(f"--depths: {text!r} is not 1 to 32, and not auto")
    return int(text)
