"""`backtalk bench codec`: what a frame of Mimi costs here, beside other implementations of it."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from backtalk.cli.agent_options import JsonOption
from backtalk.cli.report_files import check_report_folder, write_report
from backtalk.errors import ConfigError


def codec(
    codebooks: Annotated[int, typer.Option(help="Codes per frame, 1 to 32.")] = 8,
    rounds: Annotated[int, typer.Option(help="Turns of each implementation.")] = 8,
    corpus: Annotated[
        Path | None, typer.Option(help="MiniTalk corpus: judge what a codec leaves of its speech.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="With --corpus: mimi-mini, or a Mimi's file.")
    ] = "mimi-mini",
    recordings: Annotated[int, typer.Option(help="With --corpus: how many held-out ones.")] = 100,
    out: Annotated[
        Path | None, typer.Option(help="Report to write: OUT.json and OUT.png beside it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Time per frame of Mimi, one stream on one thread, on random weights.

    rustymimi and transformers take part in the same run where they are installed. With --corpus
    quality instead, over 1 to all codebooks: word errors, DNSMOS, voice and STOI of recordings that
    no model has learned from.

    Example: backtalk bench codec --rounds 4
    """
    from importlib.util import find_spec

    from rich.console import Console

    if not 1 <= codebooks <= 32:
        raise ConfigError(f"--codebooks {codebooks}: give 1 to 32")
    if rounds < 1:
        raise ConfigError(f"--rounds {rounds}: give at least 1")
    check_report_folder(out)
    if find_spec("torch") is None:
        raise ConfigError("codecs need PyTorch: pip install 'backtalk[models]'")
    if corpus is not None:
        _judge(corpus, model, recordings, out, json)
        return
    import torch

    from backtalk.bench.codec import measure_codecs, our_contestant, read_gb_per_s
    from backtalk.bench.codec_exactness import compare_exactness
    from backtalk.bench.codec_references import open_references
    from backtalk.bench.codec_report import codec_report, codec_table, draw_codec
    from backtalk.codecs.mimi.load import mimi_from_tensors
    from backtalk.codecs.mimi.random_mimi import random_mimi_tensors
    from backtalk.codecs.mimi.round_weights import round_weights

    torch.set_num_threads(1)
    with Console(stderr=True, quiet=json).status("making random weights") as status:
        tensors = random_mimi_tensors(0)
        exact = mimi_from_tensors(tensors, "random weights")
        rounded = round_weights(mimi_from_tensors(tensors, "random weights"), "int8")
        status.update("comparing what they say")
        exactness = {"backtalk int8": compare_exactness(exact, rounded)}
        ours = [
            our_contestant("backtalk float32", exact, codebooks),
            our_contestant("backtalk int8", rounded, codebooks),
        ]
        contestants = [*ours, *open_references(tensors, codebooks)]
        del tensors
        measure_codecs(contestants, codebooks, rounds=rounds, told=status.update)
        memory = read_gb_per_s()
    report = codec_report(contestants, [c.name for c in ours], codebooks, exactness, memory)
    write_report(out, report, lambda png: draw_codec(png, report))
    if json:
        typer.echo(json_text.dumps(report))
        return
    console = Console(highlight=False)
    console.print(codec_table(report))
    console.print(f"one thread reads memory at {report['memory_gb_per_s']} GB/s")
    for name, shares in report["share_of_the_best_other"].items():
        console.print(
            f"{name}: {shares['encode']:.2f} of the best other's time to encode, "
            f"{shares['decode']:.2f} to decode"
        )
    console.print(f"weights of 8 bits against 32: {exactness['backtalk int8']}")
    if out is not None:
        console.print(f"wrote {out.with_suffix('.json')} and .png")


def _judge(corpus: Path, model: str, count: int, out: Path | None, json: bool) -> None:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from backtalk.bench.codec_quality import held_out_recordings, load_ears, quality_rows
    from backtalk.bench.codec_quality_report import draw_quality, quality_table
    from backtalk.codecs.mimi.load import load_mimi
    from backtalk.codecs.mimi.mimi_codec import MimiCodec
    from backtalk.machine import describe_machine
    from backtalk.models.miniatures import miniature_or_file
    from backtalk.models.store import ModelStore

    mimi = load_mimi(miniature_or_file(model))
    total = mimi.config.total_codebooks
    held = held_out_recordings(corpus, count)
    ears = load_ears(ModelStore.default())
    columns = (TextColumn("judging"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=json, transient=True) as progress:
        task = progress.add_task("judging", total=count * (total + 1))
        recordings, rows = quality_rows(
            MimiCodec(mimi, total),
            held,
            range(1, total + 1),
            ears,
            lambda: progress.update(task, advance=1),
        )
    found = {
        "codec": model,
        "corpus": corpus.name,
        "recordings": recordings,
        "rows": rows,
        "machine": describe_machine(),
    }
    write_report(out, found, lambda png: draw_quality(png, found))
    if json:
        typer.echo(json_text.dumps(found))
        return
    Console(highlight=False).print(quality_table(found))
    if out is not None:
        typer.echo(f"wrote {out.with_suffix('.json')} and .png")
