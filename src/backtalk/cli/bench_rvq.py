"""`backtalk bench rvq`: CSM at several depths."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from backtalk.cli.agent_options import JsonOption
from backtalk.cli.report_files import check_report_folder, write_report
from backtalk.errors import ConfigError


def rvq(
    depths: Annotated[
        str, typer.Option(help="Codes per frame, 1 to 32 or auto, joined by commas.")
    ] = "32,24,20,16,8,auto",
    model: Annotated[
        Path | None, typer.Option(help="Folder with the checkpoint and tokenizer.json.")
    ] = None,
    random_weights: Annotated[
        int | None, typer.Option(help="A seed; real times without files.")
    ] = None,
    size: Annotated[str, typer.Option(help="Of random weights: 1b or tiny.")] = "1b",
    weights: Annotated[str, typer.Option(help="int4, int8, bfloat16 or float32.")] = "int4",
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the CPU.")] = None,
    text: Annotated[str | None, typer.Option(help="One sentence instead of three.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Report to write: OUT.json and OUT.png beside it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """First chunk, real-time factor, gaps and underruns of CSM by codebooks per frame.

    Example: backtalk bench rvq --random-weights 0 --depths 32,16,auto
    """
    wanted = [_depth(part.strip()) for part in depths.split(",")]
    check_report_folder(out)
    if weights not in ("int4", "int8", "bfloat16", "float32"):
        raise ConfigError(f"--weights {weights}: use int4, int8, bfloat16 or float32")
    if size not in ("1b", "tiny"):
        raise ConfigError(f"--size {size}: use 1b or tiny")
    if threads is not None and threads < 1:
        raise ConfigError(f"--threads must be at least 1, not {threads}")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ConfigError("CSM needs torch; run `pip install 'backtalk[models]'`") from error
    from rich.console import Console

    from backtalk.bench.rvq import SENTENCES, measure_rvq, rvq_row
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
    with console.status("loading csm") as status:
        if random_weights is not None:
            parts = random_parts(random_weights, size, form, place)
        else:
            chosen = None if model is None else str(model)
            parts = load_parts(ModelStore.default(), chosen, None, form, place)
        sentences = (text,) if text is not None else SENTENCES
        spoken = measure_rvq(parts, wanted, sentences, status.update)
    found = rvq_report(
        [rvq_row(depth, spoken[depth]) for depth in wanted],
        device=f"{place}, {torch.get_num_threads()} threads" if place == "cpu" else place,
        weights=weights,
        is_random=random_weights is not None,
        machine=describe_machine(),
    )
    write_report(out, found, lambda png: draw_rvq(png, found))
    if json:
        typer.echo(json_text.dumps(found))
        return
    Console().print(rvq_table(found))
    if out is not None:
        typer.echo(f"wrote {out.with_suffix('.json')} and .png")


def _depth(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or not 1 <= int(text) <= 32:
        raise ConfigError(f"--depths: {text!r} is not 1 to 32, and not auto")
    return int(text)
