"""`backtalk codec`: a recording to codes and back, and every way to get it wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from backtalk.audio.files import read_audio, write_wav  # noqa: E402
from backtalk.cli.codec import app  # noqa: E402
from backtalk.codecs.codes_file import read_codes  # noqa: E402
from backtalk.codecs.mimi import load, random_mimi  # noqa: E402
from backtalk.codecs.mimi.config import MimiConfig  # noqa: E402
from backtalk.errors import BacktalkError  # noqa: E402

RUNNER = CliRunner()
SMALL = MimiConfig(
    channels=4, width=16, transformer_layers=1, heads=2, hidden=32, codebook_dim=8, cardinality=32
)


@pytest.fixture(autouse=True)
def _small_mimi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Mimi's frames and codebooks, but weights small enough for a test; an empty store."""
    monkeypatch.setattr(load, "MimiConfig", lambda: SMALL)
    monkeypatch.setattr(random_mimi, "MimiConfig", lambda: SMALL)
    monkeypatch.setenv("BACKTALK_MODELS", str(tmp_path / "store"))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A second and a bit of a tone at 16 kHz."""
    path = tmp_path / "tone.wav"
    write_wav(path, 0.3 * np.sin(np.arange(17_000) / 10).astype(np.float32), 16_000)
    return path


def run(*arguments: str | Path) -> str:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def failure(*arguments: str | Path) -> str:
    """The one line with which the command fails; `backtalk`'s main makes it exit code 2."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, BacktalkError), result.output
    line = str(result.exception)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_recording_becomes_codes_and_sound_again(
    tmp_path: Path, recording: Path, suffix: str
) -> None:
    codes, again = tmp_path / f"codes.{suffix}", tmp_path / "again.wav"
    said = run("encode", recording, codes, "--random-weights", "0", "--codebooks", "12")
    assert "14 frames of 12 codes" in said.replace("\n", " ")
    assert read_codes(codes).codes.shape == (12, 14)
    run("decode", codes, again, "--random-weights", "0")
    audio = read_audio(again)
    assert audio.sample_rate == 24_000
    assert audio.pcm.size == 25_500
    run("decode", codes, again, "--random-weights", "0", "--sample-rate", "8000")
    assert read_audio(again).pcm.size == 8_500


def test_json_says_what_was_written(tmp_path: Path, recording: Path) -> None:
    codes = tmp_path / "codes.npz"
    report = json.loads(run("encode", recording, codes, "--random-weights", "0", "--json"))
    assert (report["codebooks"], report["frames"], report["frame_rate"]) == (8, 14, 12.5)
    assert report["rtf"] > 0


def test_weights_come_from_a_file_or_the_store(tmp_path: Path, recording: Path) -> None:
    weights = tmp_path / "mimi.safetensors"
    save_file(random_mimi.random_mimi_tensors(0, SMALL), weights)
    codes, others = tmp_path / "codes.npz", tmp_path / "others.npz"
    run("encode", recording, codes, "--model", weights)
    run("encode", recording, others, "--random-weights", "0")
    assert np.array_equal(read_codes(codes).codes, read_codes(others).codes)
    (tmp_path / "store" / "mimi").mkdir(parents=True)
    weights.rename(tmp_path / "store" / "mimi" / "tokenizer-e351c8d8-checkpoint125.safetensors")
    run("encode", recording, codes)
    assert np.array_equal(read_codes(codes).codes, read_codes(others).codes)


def test_fewer_codebooks_can_be_decoded_than_are_there(tmp_path: Path, recording: Path) -> None:
    codes = tmp_path / "codes.npz"
    run("encode", recording, codes, "--random-weights", "0")
    run("decode", codes, tmp_path / "all.wav", "--random-weights", "0")
    run("decode", codes, tmp_path / "two.wav", "--random-weights", "0", "--codebooks", "2")
    every, two = (read_audio(tmp_path / name).pcm for name in ("all.wav", "two.wav"))
    assert not np.array_equal(every, two)


def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(
    tmp_path: Path, recording: Path
) -> None:
    out = tmp_path / "out.npz"
    wav = tmp_path / "out.wav"
    text = tmp_path / "text.txt"
    text.write_text("hello")
    cases: list[tuple[str, tuple[Any, ...]]] = [
        ("hf download", ("encode", recording, out)),
        ("not a safetensors", ("encode", recording, out, "--model", text)),
        ("1 to 32", ("encode", recording, out, "--codebooks", "33", "--random-weights", "0")),
        ("float32 and int8", ("encode", recording, out, "--weights", "int4")),
        ("not both", ("encode", recording, out, "--model", text, "--random-weights", "0")),
        ("not an audio file", ("encode", text, out, "--random-weights", "0")),
        ("name it so", ("encode", recording, tmp_path / "out.wav")),
        ("codes file", ("decode", recording, wav, "--random-weights", "0")),
        ("end in .wav", ("decode", out, tmp_path / "out.mp3")),
        ("no such file", ("decode", out, wav)),
    ]
    for says, arguments in cases:
        assert says in failure(*arguments)
    assert not out.exists()
    assert not wav.exists()


def test_codes_of_a_larger_codec_are_refused_with_the_files_name(
    tmp_path: Path, recording: Path
) -> None:
    codes = tmp_path / "codes.npz"
    run("encode", recording, codes, "--random-weights", "0")
    fields = dict(np.load(codes))
    fields["codes"][0, 3] = 40
    np.savez(codes, **fields)
    line = failure("decode", codes, tmp_path / "out.wav", "--random-weights", "0")
    assert str(codes) in line
    assert "0 to 31" in line
    assert "give 1 to 8" in failure("decode", codes, tmp_path / "out.wav", "--codebooks", "9")


def test_without_torch_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recording: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "backtalk[models]" in failure("encode", recording, tmp_path / "codes.npz")
