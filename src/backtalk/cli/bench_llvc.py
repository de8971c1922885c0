"""`backtalk bench llvc`: what a step of voice conversion costs here, beside the authors' code."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.agent_options import JsonOption
from backtalk.cli.report_files import check_report_folder, write_report
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from backtalk.llvc.voice_file import Voice

MAX_PACED_MINUTES = 24 * 60
STREAMS_SECONDS = 10.0


def llvc(
    factors: Annotated[str, typer.Option(help="Chunks per step, each measured.")] = "1,2,4,8",
    rounds: Annotated[int, typer.Option(help="Turns of each implementation.")] = 6,
    voice: Annotated[
        str | None, typer.Option(help="A .safetensors file or a name in the store; else random.")
    ] = None,
    chunk_frames: Annotated[
        int | None,
        typer.Option(help="Milliseconds of a chunk, of the sizes that the voice has learned."),
    ] = None,
    prenet: Annotated[
        bool, typer.Option(help="With random weights: a voice that has a pre-net.")
    ] = False,
    reference: Annotated[
        Path | None, typer.Option(help="A clone of github.com/KoeAI/LLVC, to measure beside ours.")
    ] = None,
    clicks: Annotated[
        int, typer.Option(help="Clicks through a live session, 0.7 s each; 0 for none.", min=0)
    ] = 20,
    paced: Annotated[
        float | None,
        typer.Option(help="Minutes of a live session, a chunk after the other.", metavar="MINUTES"),
    ] = None,
    streams: Annotated[
        bool, typer.Option("--streams", help="Count the streams that one core keeps up with.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Report to write: OUT.json and OUT.png beside it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Time per step of LLVC, one stream on one thread, on speech.

    rtf is compute over audio; the authors' script prints the inverse.

    Example: backtalk bench llvc --factors 1,4 --rounds 2
    """
    from rich.console import Console

    from backtalk.bench.llvc import measure_llvc, our_contestant
    from backtalk.bench.llvc_report import draw_llvc, live_in_words, llvc_report, llvc_table

    chunk_factors = _factors(factors)
    if rounds < 1:
        raise ConfigError(f"--rounds {rounds}: give at least 1")
    if paced is not None and not 0 < paced <= MAX_PACED_MINUTES:
        raise ConfigError(f"--paced {paced:g}: give minutes, up to {MAX_PACED_MINUTES}")
    check_report_folder(out)
    with Console(stderr=True, quiet=json).status("loading") as status:
        opened, weights = _open_voice(voice, chunk_frames, prenet)
        speech = _speech()
        contestants = [
            our_contestant(opened, factor, weight_format)
            for factor in chunk_factors
            for weight_format in ("float32", "int8")
        ]
        if reference is not None:
            from backtalk.bench.llvc_reference import reference_contestant

            _use_one_thread()
            contestants += [reference_contestant(reference, opened, n) for n in chunk_factors]
        snr_db = _int8_snr_db(opened, speech)
        measure_llvc(contestants, speech, rounds=rounds, told=status.update)
        live = _live(opened, speech, clicks, paced, streams, status.update)
    report = llvc_report(contestants, weights, snr_db, live)
    write_report(out, report, lambda png: draw_llvc(png, report))
    if json:
        typer.echo(json_text.dumps(report))
        return
    console = Console(highlight=False)
    console.print(llvc_table(report))
    console.print(f"8 bits against 32: {report['int8_snr_db']} dB")
    for line in live_in_words(live):
        console.print(line)
    if out is not None:
        console.print(f"wrote {out.with_suffix('.json')} and .png")


def _live(
    voice: Voice,
    speech: np.ndarray,
    clicks: int,
    minutes: float | None,
    streams: bool,
    told: Callable[[str], None],
) -> dict[str, Any]:
    """What was asked for, each in a live session of its own, 13 ms a chunk."""
    import asyncio

    from backtalk.bench.llvc_click import measure_clicks
    from backtalk.bench.llvc_paced import run_paced, speech_frames
    from backtalk.bench.llvc_streams import count_streams
    from backtalk.llvc.engine import LlvcEngine
    from backtalk.llvc.graph import WEIGHT_FORMATS
    from backtalk.llvc.llvc_system import LlvcSystem

    engine = LlvcEngine(voice)
    live: dict[str, Any] = {}
    if clicks:
        told("clicks through a live session")
        live["click"] = asyncio.run(measure_clicks(LlvcSystem(engine), clicks)).as_dict()
    if minutes is not None:
        told(f"a live session of {minutes:g} minutes")
        frames = speech_frames(speech, engine.frame_size, 60 * minutes, engine.sample_rate)
        live["paced"] = asyncio.run(run_paced(LlvcSystem(engine), frames)).as_dict()
    if streams:
        live["streams"] = {
            weight_format: count_streams(
                LlvcEngine(voice, weight_format=weight_format), speech, STREAMS_SECONDS, told
            )
            for weight_format in WEIGHT_FORMATS
        }
    return live


def _factors(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 64 for part in parts):
        raise ConfigError(f"--factors {text!r}: give numbers from 1 to 64, joined by commas")
    return [int(part) for part in parts]


def _open_voice(voice: str | None, chunk_frames: int | None, prenet: bool) -> tuple[Voice, str]:
    from backtalk.llvc.config import published_config
    from backtalk.llvc.llvc_system import open_voice
    from backtalk.llvc.random_voice import random_voice
    from backtalk.models.store import ModelStore

    if voice is None:
        config = published_config("llvc" if prenet else "llvc_nc")
        kind = "with" if prenet else "without"
        made = random_voice(0, config)
        made = made if chunk_frames is None else made.in_chunks(chunk_frames)
        return made, f"random weights, {kind} a pre-net"
    opened = open_voice(ModelStore.default(), voice, chunk_frames=chunk_frames)
    return opened, f"the voice {opened.name}"


def _speech() -> np.ndarray:
    """The recorded questions of the demo at 16 kHz."""
    import numpy as np

    import backtalk
    from backtalk.audio.files import read_audio

    folder = Path(backtalk.__file__).parent / "demo"
    return np.concatenate([read_audio(f, 16_000).pcm for f in sorted(folder.glob("*.flac"))])


def _int8_snr_db(voice: Voice, speech: np.ndarray) -> float:
    import numpy as np

    from backtalk.llvc.engine import LlvcEngine
    from backtalk.llvc.stream import convert

    exact, rounded = (
        convert(LlvcEngine(voice, chunk_factor=8, weight_format=weight_format), speech)
        for weight_format in ("float32", "int8")
    )
    noise = float(np.square(exact - rounded, dtype=np.float64).sum())
    return 10 * float(np.log10(np.square(exact, dtype=np.float64).sum() / max(noise, 1e-20)))


def _use_one_thread() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
