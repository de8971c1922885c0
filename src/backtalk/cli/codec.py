"""`backtalk codec`: recordings to codes and back."""

from __future__ import annotations

import contextlib
import json as json_text
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.agent_options import JsonOption
from backtalk.cli.wav_file import check_wav
from backtalk.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from backtalk.codecs.mimi.mimi_codec import MimiCodec

MAX_SECONDS = 3600.0

app = typer.Typer(help="Recordings to codes and back.", no_args_is_help=True)

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Mimi weights, either published layout, or the name of a miniature; else the store's.",
    ),
]
RandomOption = Annotated[
    int | None,
    typer.Option(
        "--random-weights", help="Random weights of this seed, to try without files: noise."
    ),
]
WeightsOption = Annotated[
    str, typer.Option(help="float32, or int8: faster, and a little less exact.")
]


@app.callback()
def _root() -> None:
    """Recordings to codes and back, by Mimi: 24 kHz, 12.5 frames a second."""


@app.command()
def encode(
    recording: Annotated[Path, typer.Argument(help="WAV, FLAC, Ogg or MP3, any sample rate.")],
    out: Annotated[Path, typer.Argument(help="Codes to write: .npz or .safetensors.")],
    codebooks: Annotated[int, typer.Option(help="Codes per frame, 1 to 32.")] = 8,
    model: ModelOption = None,
    random_weights: RandomOption = None,
    weights: WeightsOption = "float32",
    json: JsonOption = False,
) -> None:
    """Turn a recording into codes.

    Example: backtalk codec encode question.wav question.npz --codebooks 8
    """
    import numpy as np

    from backtalk.audio.files import read_audio
    from backtalk.codecs.codes_file import CodesFile, check_codes_path, write_codes

    check_codes_path(out)
    audio = read_audio(recording, max_seconds=MAX_SECONDS)
    codec = _open_codec(model, random_weights, weights, codebooks, is_quiet=json)
    stream = codec.open_encoder(audio.sample_rate)
    began_s = time.perf_counter()
    pieces = []
    with _progress("encoding", audio.pcm.size, is_quiet=json) as done:
        for at in range(0, audio.pcm.size, audio.sample_rate):
            pieces.append(stream.push(audio.pcm[at : at + audio.sample_rate]))
            done(min(at + audio.sample_rate, audio.pcm.size))
        pieces.append(stream.flush())
    codes = np.concatenate(pieces, axis=1)
    compute_s = time.perf_counter() - began_s
    samples = round(audio.pcm.size * codec.sample_rate / audio.sample_rate)
    file = CodesFile(
        codes,
        codec="mimi",
        sample_rate=codec.sample_rate,
        frame_size=codec.frame_size,
        cardinality=codec.cardinality,
        samples=min(max(samples, 1), codes.shape[1] * codec.frame_size),
    )
    write_codes(out, file)
    _report(out, codes.shape, audio.duration_s, compute_s, codec, json)


@app.command()
def decode(
    codes_file: Annotated[Path, typer.Argument(help="Codes, as `encode` writes them.")],
    out: Annotated[Path, typer.Argument(help="WAV file to write.")],
    codebooks: Annotated[
        int | None, typer.Option(help="Use only the first so many of each frame.")
    ] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Hz of the WAV file.")] = None,
    model: ModelOption = None,
    random_weights: RandomOption = None,
    weights: WeightsOption = "float32",
    json: JsonOption = False,
) -> None:
    """Turn codes back into sound.

    Example: backtalk codec decode question.npz again.wav
    """
    import numpy as np

    from backtalk.audio.files import write_wav
    from backtalk.audio.pcm import check_sample_rate
    from backtalk.codecs.codes_file import read_codes

    check_wav(out)
    rate = None if sample_rate is None else check_sample_rate(sample_rate)
    file = read_codes(codes_file)
    if file.codec != "mimi":
        raise AudioError(f"{codes_file}: its codes are {file.codec}'s; only mimi's can be decoded")
    there = file.codes.shape[0]
    if codebooks is not None and not 1 <= codebooks <= there:
        raise ConfigError(f"--codebooks {codebooks}: the file has {there}; give 1 to {there}")
    codes = file.codes[:codebooks]
    codec = _open_codec(model, random_weights, weights, 1, is_quiet=json)
    _check_codes(codes_file, codec, codes)
    stream = codec.open_decoder(rate)
    began_s = time.perf_counter()
    pieces = []
    with _progress("decoding", codes.shape[1], is_quiet=json) as done:
        for at in range(0, codes.shape[1], 16):
            pieces.append(stream.push(codes[:, at : at + 16]))
            done(min(at + 16, codes.shape[1]))
        pieces.append(stream.flush())
    pcm = np.concatenate(pieces)
    compute_s = time.perf_counter() - began_s
    made_at = rate or codec.sample_rate
    write_wav(out, pcm[: round(file.samples * made_at / file.sample_rate)], made_at)
    _report(out, codes.shape, file.duration_s, compute_s, codec, json)


def _open_codec(
    model: str | None, seed: int | None, weights: str, codebooks: int, is_quiet: bool
) -> MimiCodec:
    from importlib.util import find_spec

    from rich.console import Console

    if model is not None and seed is not None:
        raise ConfigError("give either --model or --random-weights, not both")
    if weights not in ("float32", "int8"):
        raise ConfigError(f"--weights {weights}: there are float32 and int8")
    if find_spec("torch") is None:
        raise ConfigError("codecs need PyTorch: pip install 'backtalk[models]'")
    import torch

    from backtalk.codecs.mimi.load import load_mimi
    from backtalk.codecs.mimi.mimi_codec import MimiCodec
    from backtalk.codecs.mimi.random_mimi import random_mimi
    from backtalk.codecs.mimi.round_weights import round_weights
    from backtalk.codecs.mimi.weights_file import find_mimi_weights
    from backtalk.models.miniatures import miniature_or_file
    from backtalk.models.store import ModelStore

    torch.set_num_threads(1)  # several threads gain little on pieces this small, and lose a core
    with Console(stderr=True, quiet=is_quiet).status("loading mimi"):
        if seed is not None:
            loaded = random_mimi(seed)
        else:
            store = ModelStore.default()
            file = find_mimi_weights(store) if model is None else miniature_or_file(model)
            loaded = load_mimi(file)
        return MimiCodec(
            round_weights(loaded, "int8" if weights == "int8" else "float32"), codebooks
        )


def _check_codes(path: Path, codec: MimiCodec, codes: Any) -> None:
    try:
        codec.check_codes(codes)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error


@contextlib.contextmanager
def _progress(what: str, total: int, is_quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; told how much of `total` is done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=is_quiet, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def _report(
    out: Path,
    shape: tuple[int, ...],
    audio_s: float,
    compute_s: float,
    codec: MimiCodec,
    as_json: bool,
) -> None:
    codebooks, frames = shape
    rtf = compute_s / audio_s
    if as_json:
        from backtalk.machine import describe_machine

        report = {
            "out": str(out),
            "codebooks": codebooks,
            "frames": frames,
            "frame_rate": codec.frame_rate,
            "audio_s": round(audio_s, 3),
            "rtf": round(rtf, 4),
            "machine": describe_machine(),
        }
        typer.echo(json_text.dumps(report))
        return
    typer.echo(f"wrote {out}: {audio_s:.2f} s, {frames} frames of {codebooks} codes, rtf {rtf:.3f}")
