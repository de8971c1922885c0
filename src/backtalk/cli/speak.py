"""`backtalk speak`: text to speech, by the same segmenter and voice that an agent replies with."""

from __future__ import annotations

import json as json_text
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.agent_options import TtsOptionOption, VoiceConversionOption
from backtalk.cli.wav_file import check_wav
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from backtalk.cascade.protocols import Tts
    from backtalk.session.converter_stream import ConverterStream
    from backtalk.watermark.watermark import Watermark

MAX_CHARS = 4000

_EXAMPLES = """
Examples:

  backtalk speak "Hello there." --out hello.wav

  backtalk speak - --out page.wav --speed 1.2 < page.txt

  backtalk speak "Hello there." --tts piper --play

  backtalk speak "Hello there." --system csm --rvq 16 --out hello.wav

  backtalk speak "Hello." --system csm --voice me.wav --tts-option voice_text="What I said." --play
"""


def speak(
    text: Annotated[str, typer.Argument(help="What to say; - reads it from standard input.")],
    out: Annotated[Path | None, typer.Option(help="WAV file to write.")] = None,
    tts: Annotated[
        str, typer.Option("--tts", "--system", help="Voice plug-in: hibari, piper, csm, csm-mini.")
    ] = "hibari",
    voice: Annotated[
        str | None,
        typer.Option(help="One of the plug-in's voices; csm: a recording, with its words."),
    ] = None,
    speed: Annotated[float, typer.Option(help="Pace, 0.5 to 2; 1 is the voice's own.")] = 1.0,
    rvq: Annotated[
        str | None, typer.Option(help="csm: codes per frame, 1 to 32, or auto.", metavar="N")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="csm: int4, int8, bfloat16 or float32.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="csm: folder with the checkpoint and tokenizer.json.")
    ] = None,
    random_weights: Annotated[
        int | None, typer.Option(help="csm: a seed; speaks noise, to try it without files.")
    ] = None,
    tts_option: TtsOptionOption = None,
    watermark: Annotated[
        bool, typer.Option("--watermark", help="Mark what is written as made by a machine.")
    ] = False,
    voice_conversion: VoiceConversionOption = None,
    play: Annotated[bool, typer.Option("--play", help="Play it through the loudspeaker.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.")
    ] = False,
) -> None:
    """Say a text, and how long its first sound took."""
    from backtalk.cli.plugin_options import plugin_options

    if out is None and not play:
        raise ConfigError("nowhere to put the speech: give --out FILE.wav or --play")
    if out is not None:
        check_wav(out)
    elif watermark:
        raise ConfigError("--watermark marks what is written, not what is played: give --out")
    text = _checked(_read(text))
    chunks = _chunks(text)
    # Only what was asked for is passed on: a plug-in from elsewhere may know none of it.
    asked = {
        "voice": voice,
        "speed": speed if speed != 1.0 else None,
        "rvq": rvq,
        "weights": weights,
        "model": None if model is None else str(model),
        "random_weights": random_weights,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    for name, value in plugin_options(
        "--tts-option", "backtalk.tts", tts, tts_option or []
    ).items():
        if name in options:
            raise ConfigError(f"{name} is given twice, the second time by --tts-option {name}")
        options[name] = value
    mark = _watermark() if watermark else None
    engine, other_voice = _build(tts, options, voice_conversion, is_quiet=json)
    speech = _Speech(engine, chunks, other_voice)
    if play:
        import asyncio

        asyncio.run(_play(speech))
    else:
        for _ in speech.pieces():
            pass
    if not speech.samples:
        raise ConfigError(f"the voice found nothing to say in {_short(text)}; give it English text")
    if out is not None:
        import numpy as np

        from backtalk.audio.files import write_wav

        pcm = np.concatenate(speech.made)
        if mark is not None:
            pcm = mark.mark(pcm, speech.sample_rate)
        write_wav(out, pcm, speech.sample_rate)
    _report(text, out, tts, speech, is_marked=watermark, as_json=json)


speak.__doc__ = f"{speak.__doc__}\n{_EXAMPLES}"


@dataclass
class _Speech:
    """The synthesis of one text, and what it cost.

    Args:
        tts: the voice.
        chunks: what it says, one after the other.
        other_voice: what it says is said again in this one; fresh.
    Attributes:
        made: the pieces made so far, float32 [T] each.
        compute_s: time spent in the voice, without the time a piece waited to be fetched.
        ttfa_ms: from the text to the first audible sample, the silence before it included.
    """

    tts: Tts
    chunks: list[str]
    other_voice: ConverterStream | None = None
    made: list[np.ndarray] = field(default_factory=list)
    compute_s: float = 0.0
    ttfa_ms: float = 0.0

    @property
    def samples(self) -> int:
        return sum(pcm.size for pcm in self.made)

    @property
    def sample_rate(self) -> int:
        other = self.other_voice
        return self.tts.sample_rate if other is None else other.rate_out

    @property
    def audio_s(self) -> float:
        return self.samples / self.sample_rate

    @property
    def rtf(self) -> float:
        return self.compute_s / self.audio_s

    def pieces(self) -> Iterator[np.ndarray]:
        """Speak chunk after chunk; float32 [T] at `sample_rate`."""
        from backtalk.audio.level import first_audible_sample

        started_s = time.perf_counter()
        for pcm in self._converted():
            self.compute_s += time.perf_counter() - started_s
            if not self.made:
                silence = first_audible_sample(pcm, self.sample_rate) or 0
                silence_ms = 1000 * silence / self.sample_rate
                self.ttfa_ms = 1000 * self.compute_s + silence_ms
            self.made.append(pcm)
            yield pcm
            started_s = time.perf_counter()
        self.compute_s += time.perf_counter() - started_s

    def _converted(self) -> Iterator[np.ndarray]:
        from backtalk.session.converted_sound import ConvertedSound, in_slices
        from backtalk.session.responder import Sound

        if self.other_voice is None:
            yield from self._spoken()
            return
        sound = ConvertedSound(self.other_voice)
        for pcm in self._spoken():
            for piece in in_slices(Sound(pcm), self.tts.sample_rate):
                yield from (made.pcm for made in sound.push(piece))
        yield from (made.pcm for made in sound.flush())

    def _spoken(self) -> Iterator[np.ndarray]:
        from backtalk.stream.cancel import CancelToken

        cancel = CancelToken()
        for chunk in self.chunks:
            yield from (spoken.pcm for spoken in self.tts.speak(chunk, cancel))


async def _play(speech: _Speech) -> None:
    """Play pieces as they are made, each made on a worker thread."""
    import asyncio

    from backtalk.audio.device import Speaker

    async with Speaker(speech.sample_rate) as speaker:
        pieces = speech.pieces()
        while (pcm := await asyncio.to_thread(next, pieces, None)) is not None:
            speaker.play(pcm)
        await speaker.drain()


def _read(text: str) -> str:
    if text != "-":
        return text
    try:
        return sys.stdin.read(MAX_CHARS + 1)
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not UTF-8 text (byte {error.start})") from error


def _checked(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise ConfigError(
            f"the text is longer than the {MAX_CHARS} characters allowed; speak it in parts"
        )
    text = text.strip()
    if not text:
        raise ConfigError('there is no text to say; try: backtalk speak "Hello there." --play')
    return text


def _chunks(text: str) -> list[str]:
    from backtalk.cascade.plugins import find
    from backtalk.cascade.speakable import speakable

    segmenter = find("backtalk.segmenter", "clauses")(None)
    chunks = [speakable(chunk) for chunk in (*segmenter.push(text), *segmenter.flush())]
    chunks = [chunk for chunk in chunks if chunk]
    if not chunks:
        raise ConfigError(f"there is nothing to say in {_short(text)}; give some words")
    return chunks


def _build(
    tts: str, options: dict[str, Any], voice_conversion: str | None, is_quiet: bool
) -> tuple[Tts, ConverterStream | None]:
    import numpy as np
    from rich.console import Console

    from backtalk.cascade.plugins import find
    from backtalk.models.store import ModelStore
    from backtalk.session.converter_stream import ConverterStream

    build = find("backtalk.tts", tts)
    store = ModelStore.default()
    with Console(stderr=True, quiet=is_quiet).status(f"loading {tts}"):
        converter = None
        if voice_conversion is not None:
            converter = find("backtalk.systems", "llvc")(store, voice=voice_conversion)
        engine: Tts = build(store, **options)
        engine.warm_up()
        if converter is None:
            return engine, None
        stream = ConverterStream(converter, engine.sample_rate)
        stream.push(np.zeros(engine.sample_rate // 4, np.float32))
        stream.flush()
        return engine, stream


def _watermark() -> Watermark:
    from backtalk.watermark.watermark import Watermark

    return Watermark()


def _report(
    text: str, out: Path | None, tts: str, speech: _Speech, is_marked: bool, as_json: bool
) -> None:
    if as_json:
        from backtalk.machine import describe_machine

        report = {
            "out": None if out is None else str(out),
            "text": text,
            "ttfa_ms": round(speech.ttfa_ms, 1),
            "rtf": round(speech.rtf, 4),
            "audio_s": round(speech.audio_s, 3),
            "sample_rate": speech.sample_rate,
            "tts": tts,
            "watermark": is_marked,
            "machine": describe_machine(),
        }
        typer.echo(json_text.dumps(report))
        return
    where = "played" if out is None else f"wrote {out}"
    typer.echo(
        f"{where}: {speech.audio_s:.2f} s of speech, first audio after {speech.ttfa_ms:.0f} ms, "
        f"rtf {speech.rtf:.3f}{', watermarked' if is_marked else ''}"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
