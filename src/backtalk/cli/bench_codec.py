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
    out: Annotated[
        Path | None, typer.Option(help="Report to write: OUT.json and OUT.png beside it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Time per frame of Mimi, one stream on one thread, on random weights.

    rustymimi and transformers take part in the same run where they are installed.

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
