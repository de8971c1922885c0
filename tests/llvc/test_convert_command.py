"""`backtalk convert` and `bench llvc`: what they write, and every way to get them wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from small_llvc import SMALL, noise
from typer.testing import CliRunner

from backtalk.audio.files import read_audio, write_wav
from backtalk.audio.resample import resample
from backtalk.bench.llvc import LlvcContestant, measure_llvc, our_contestant
from backtalk.bench.llvc_report import draw_llvc, llvc_report, llvc_table
from backtalk.cli.bench_llvc import llvc
from backtalk.cli.convert import convert
from backtalk.errors import BacktalkError
from backtalk.llvc import llvc_system
from backtalk.llvc.random_voice import random_voice
from backtalk.llvc.voice_file import write_voice
from fake_portaudio import FakeSounddevice, PortAudioError

RUNNER = CliRunner()


def command(function: Any) -> typer.Typer:
    app = typer.Typer()
    app.command()(function)
    return app


@pytest.fixture(autouse=True)
def _small_voice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Random weights small enough for a test; an empty store."""
    monkeypatch.setattr(llvc_system, "random_voice", lambda seed: random_voice(seed, SMALL))
    monkeypatch.setenv("BACKTALK_MODELS", str(tmp_path / "store"))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "me.wav"
    write_wav(path, noise(24_001), 24_000)
    return path


def run(function: Any, *arguments: str | Path) -> str:
    result = RUNNER.invoke(command(function), [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def failure(function: Any, *arguments: str | Path) -> str:
    """The one line with which the command fails; `backtalk`'s main makes it exit code 2."""
    result = RUNNER.invoke(command(function), [str(argument) for argument in arguments])
    assert isinstance(result.exception, BacktalkError), result.output
    line = str(result.exception)
    assert "\n" not in line
    return line


def test_a_recording_is_said_again_at_the_same_length(tmp_path: Path, recording: Path) -> None:
    out = tmp_path / "other.wav"
    said = run(convert, recording, out, "--random-weights", "0")
    assert "1.00 s in the voice random-0" in said.replace("\n", " ")
    audio = read_audio(out)
    assert (audio.sample_rate, audio.pcm.size) == (16_000, 16_001)
    longer = read_audio(out).pcm
    more = ("--sample-rate", "48000", "--chunk-frames", "5")
    run(convert, recording, out, "--random-weights", "0", *more)
    audio = read_audio(out)
    assert audio.sample_rate == 48_000
    assert np.abs(resample(audio.pcm, 48_000, 16_000)[: longer.size] - longer).max() > 1e-3


def test_a_voice_comes_from_a_file_or_the_store(tmp_path: Path, recording: Path) -> None:
    voice = tmp_path / "alto.safetensors"
    write_voice(voice, random_voice(0, SMALL))
    first, second, plain = (tmp_path / f"{i}.wav" for i in range(3))
    run(convert, recording, first, "--voice", voice)
    (tmp_path / "store" / "llvc").mkdir(parents=True)
    voice.rename(tmp_path / "store" / "llvc" / "alto.safetensors")
    run(convert, recording, second, "--voice", "alto", "--chunk-factor", "2")
    assert np.abs(read_audio(first).pcm - read_audio(second).pcm).max() < 1e-4
    report = json.loads(run(convert, recording, plain, "--bypass-prenet", "--json"))
    assert report["voice"] == "alto"
    assert report["rtf"] > 0
    assert np.abs(read_audio(plain).pcm - read_audio(second).pcm).max() > 1e-3


def test_without_a_voice_of_ones_own_there_is_that_of_the_package(
    tmp_path: Path, recording: Path
) -> None:
    said = run(convert, recording, tmp_path / "out.wav", "--weights", "int8")
    assert "in the voice llvc" in said.replace("\n", " ")


def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(
    tmp_path: Path, recording: Path
) -> None:
    out = tmp_path / "out.wav"
    text = tmp_path / "text.txt"
    text.write_text("hello, this is no voice and no sound")
    random = ("--random-weights", "0")
    cases: list[tuple[str, tuple[Any, ...]]] = [
        ("no voice 'alto'", (recording, out, "--voice", "alto")),
        ("not a safetensors", (recording, out, "--voice", text)),
        ("not both", (recording, out, "--voice", text, *random)),
        ("float32 and int8", (recording, out, *random, "--weights", "int4")),
        ("chunk_factor 0", (recording, out, *random, "--chunk-factor", "0")),
        ("did not learn chunks of 99", (recording, out, *random, "--chunk-frames", "99")),
        ("sample rate", (recording, out, *random, "--sample-rate", "10")),
        ("not an audio file", (text, out, *random)),
        ("no such file", (tmp_path / "none.wav", out, *random)),
        ("where to?", (recording, *random)),
        ("for a WAV file", (*random, "--sample-rate", "48000")),
        ("end in .wav", (recording, tmp_path / "out.mp3", *random)),
        ("no folder", (recording, tmp_path / "none" / "out.wav", *random)),
    ]
    for says, arguments in cases:
        assert says in failure(convert, *arguments)
    assert not out.exists()


def test_without_a_microphone_live_conversion_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSounddevice()
    fake.open_error = PortAudioError("Error querying device -1")
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    said = failure(convert, "--random-weights", "0")
    assert said.startswith("no microphone could be opened (Error querying device -1); plug one in")


def test_the_benchmark_refuses_what_it_cannot_measure(tmp_path: Path) -> None:
    assert "joined by commas" in failure(llvc, "--factors", "1,x")
    assert "at least 1" in failure(llvc, "--rounds", "0")
    assert "make the folder" in failure(llvc, "--out", tmp_path / "none" / "llvc")


def test_contestants_take_turns_in_an_order_that_is_reversed_every_round() -> None:
    log: list[str] = []

    def contestant(name: str, factor: int) -> LlvcContestant:
        def step(pcm: np.ndarray) -> None:
            log.append(f"{name}{pcm.size}")

        return LlvcContestant(name, factor, 200 * factor, 16, step, 0.0)

    contestants = [contestant("a", 1), contestant("b", 2)]
    measure_llvc(contestants, noise(999), rounds=2, block_s=0.025, dropped_steps=1, warm_up_steps=1)
    a, b = "a200", "b400"
    assert log == [a, b, *3 * [a], *2 * [b], *2 * [b], *3 * [a]]
    assert [len(c.wall_ms) for c in contestants] == [4, 2]


def test_the_report_has_the_papers_formula_and_ours_and_becomes_a_picture(tmp_path: Path) -> None:
    ours = our_contestant(random_voice(0, SMALL), 1, "float32")
    theirs = LlvcContestant("authors' torch", 1, 208, 16, lambda pcm: None, 1.0)
    ours.frame_size, ours.lookahead_samples = 208, 16
    ours.wall_ms = ours.cpu_ms = [1.0, 1.0, 1.0, 3.0]
    theirs.wall_ms = theirs.cpu_ms = [8.0, 8.0, 14.0]
    report = llvc_report([ours, theirs], "random weights", 36.8)
    mine, other = report["rows"]
    assert mine["times_as_fast_as_authors"] == 8.0
    assert mine["e2e_ms"] == 13.0 + 1.0 + 1.0
    assert mine["paper_e2e_ms"] == 13.0 + 2.0 + 1.5
    assert mine["rtf"] == round(1 / 13, 4)
    assert (mine["late_steps"], other["late_steps"]) == (0, 1)
    assert llvc_table(report).row_count == 2
    draw_llvc(tmp_path / "llvc.png", report)
    assert (tmp_path / "llvc.png").stat().st_size > 5_000
