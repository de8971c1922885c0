"""`backtalk convert`: a recording, or what the microphone hears, in another voice."""

from __future__ import annotations

import json as json_text
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.agent_options import JsonOption
from backtalk.cli.wav_file import check_wav
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from backtalk.audio.files import Audio
    from backtalk.llvc.engine import LlvcEngine
    from backtalk.llvc.graph import WeightFormat
    from backtalk.llvc.voice_file import Voice

MAX_SECONDS = 3600.0
FILE_CHUNK_FACTOR = 8

_EXAMPLES = """
Examples:

  backtalk convert me.wav other.wav                a recording, in the voice of the package

  backtalk convert me.wav other.wav --voice alto   in another

  backtalk convert                                 microphone to loudspeaker (use headphones)
"""


def convert(
    recording: Annotated[
        Path | None, typer.Argument(help="WAV, FLAC, Ogg or MP3, any sample rate.")
    ] = None,
    out: Annotated[Path | None, typer.Argument(help="WAV file to write.")] = None,
    voice: Annotated[
        str | None,
        typer.Option(
            help="A .safetensors file, or a name in the store; else the only one there, or the one "
            "that comes with the package."
        ),
    ] = None,
    random_weights: Annotated[
        int | None, typer.Option(help="Random weights of this seed, to try without files: noise.")
    ] = None,
    chunk_factor: Annotated[
        int | None,
        typer.Option(
            help="Chunks per step: cheaper, later, and the same samples.",
            show_default="8, live 1",
        ),
    ] = None,
    chunk_frames: Annotated[
        int | None,
        typer.Option(
            help="Milliseconds of a chunk, of the sizes that the voice has learned: shorter is "
            "sooner, and a little worse.",
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="float32, or int8: faster, and a little less exact.")
    ] = "float32",
    bypass_prenet: Annotated[
        bool, typer.Option(help="Leave the pre-net out, in voices that have one.")
    ] = False,
    sample_rate: Annotated[
        int | None, typer.Option(help="Hz of the WAV file; 16000 by default.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say a recording again in another voice; without one, what the microphone hears, live."""
    if recording is None:
        from backtalk.cli.convert_live import convert_live

        if sample_rate is not None:
            raise ConfigError("--sample-rate is for a WAV file; the loudspeaker has its own")
        opened = _open_voice(voice, random_weights, bypass_prenet, chunk_frames, json)
        convert_live(_engine(opened, 1 if chunk_factor is None else chunk_factor, weights), json)
        return
    if out is None:
        raise ConfigError(f"where to? backtalk convert {recording} OUT.wav")
    from backtalk.audio.files import read_audio, write_wav
    from backtalk.audio.pcm import check_sample_rate
    from backtalk.audio.resample import resample

    check_wav(out)
    rate = None if sample_rate is None else check_sample_rate(sample_rate)
    opened = _open_voice(voice, random_weights, bypass_prenet, chunk_frames, json)
    engine = _engine(opened, FILE_CHUNK_FACTOR if chunk_factor is None else chunk_factor, weights)
    audio = read_audio(recording, engine.sample_rate, max_seconds=MAX_SECONDS)
    began_s = time.perf_counter()
    pcm = _convert(engine, audio, is_quiet=json)
    compute_s = time.perf_counter() - began_s
    made_at = rate or engine.sample_rate
    write_wav(out, resample(pcm, engine.sample_rate, made_at), made_at)
    _report(out, engine, audio.duration_s, compute_s, made_at, json)


convert.__doc__ = f"{convert.__doc__}\n{_EXAMPLES}"


def _open_voice(
    voice: str | None,
    random_weights: int | None,
    bypass_prenet: bool,
    chunk_frames: int | None,
    is_quiet: bool,
) -> Voice:
    from rich.console import Console

    from backtalk.llvc.llvc_system import open_voice
    from backtalk.models.store import ModelStore

    with Console(stderr=True, quiet=is_quiet).status("loading the voice"):
        return open_voice(
            ModelStore.default(),
            voice,
            random_weights,
            bypass_prenet=bypass_prenet,
            chunk_frames=chunk_frames,
        )


def _engine(voice: Voice, chunk_factor: int, weights: str) -> LlvcEngine:
    from backtalk.llvc.engine import LlvcEngine

    if weights not in ("float32", "int8"):
        raise ConfigError(f"--weights {weights}: there are float32 and int8")
    weight_format: WeightFormat = "int8" if weights == "int8" else "float32"
    return LlvcEngine(voice, chunk_factor=chunk_factor, weight_format=weight_format)


def _convert(engine: LlvcEngine, audio: Audio, is_quiet: bool) -> np.ndarray:
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress

    from backtalk.llvc.stream import LlvcStream

    stream = LlvcStream(engine)
    pieces = []
    with Progress(console=Console(stderr=True), disable=is_quiet, transient=True) as progress:
        task = progress.add_task("converting", total=audio.pcm.size)
        for at in range(0, audio.pcm.size, engine.sample_rate):
            piece = audio.pcm[at : at + engine.sample_rate]
            pieces.append(stream.push(piece))
            progress.update(task, advance=piece.size)
        pieces.append(stream.flush())
    return np.concatenate(pieces)


def _report(
    out: Path,
    engine: LlvcEngine,
    audio_s: float,
    compute_s: float,
    sample_rate: int,
    as_json: bool,
) -> None:
    rtf = compute_s / audio_s
    if as_json:
        from backtalk.machine import describe_machine

        report = {
            "out": str(out),
            "voice": engine.voice.name,
            "audio_s": round(audio_s, 3),
            "sample_rate": sample_rate,
            "rtf": round(rtf, 4),
            "machine": describe_machine(),
        }
        typer.echo(json_text.dumps(report))
        return
    typer.echo(f"wrote {out}: {audio_s:.2f} s in the voice {engine.voice.name}, rtf {rtf:.3f}")
