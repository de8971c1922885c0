"""What people get wrong on the command line: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backtalk.audio.files import write_wav

TONE = (0.3 * np.sin(np.arange(16000) * 2 * np.pi * 220 / 16000)).astype(np.float32)


def backtalk(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backtalk", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result
    lines = result.stderr.strip().splitlines()
    assert "Traceback" not in result.stderr
    assert lines[-1].startswith("backtalk: ") or "Error" in result.stderr, lines
    for word in words:
        assert word in result.stderr, (word, result.stderr)


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    write_wav(path, TONE, 16000)
    return path


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    assert_refused(backtalk("talk", tmp_path / "nothing.wav"), "nothing.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"this is not audio at all" * 50])
def test_a_file_that_is_no_recording_is_refused_before_anything_is_loaded(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    assert_refused(backtalk("talk", path, "--out", tmp_path / "out.wav"), "broken.wav")
    assert not (tmp_path / "out.wav").exists()


def test_one_bad_recording_among_good_ones_stops_the_conversation_early(
    tmp_path: Path, tone: Path
) -> None:
    assert_refused(backtalk("talk", tone, tmp_path / "missing.wav"), "missing.wav")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--set", "soft_end=100"], "soft_end"),
        (["--set", "soft_end_ms=abc"], "whole number"),
        (["--set", "soft_end_ms=-5"], "0 or more"),
        (["--set", "speculate=maybe"], "true or false"),
        (["--cut-in", "1@500"], "no reply before it"),
        (["--cut-in", "two"], "N@MS"),
        (["--system", "nonsense"], "nonsense"),
        (["--llm-model", "x"], "--llm-url"),
        (["--out", "/no/such/folder/out.wav"], "/no/such/folder"),
        (["--timeline", "/no/such/folder/t.png"], "/no/such/folder"),
        (["--nonsense"], "No such option"),
    ],
)
def test_options_that_make_no_sense_are_refused(tone: Path, options: list[str], word: str) -> None:
    assert_refused(backtalk("talk", tone, *options), word)


def test_the_microphone_needs_real_time() -> None:
    assert_refused(backtalk("talk", "--fast"), "--fast needs recordings")


def test_missing_models_say_which_command_fetches_them(tmp_path: Path, tone: Path) -> None:
    result = backtalk("talk", tone, BACKTALK_MODELS=str(tmp_path / "empty"))
    assert_refused(result, "backtalk models get")


def test_a_damaged_model_is_found_before_it_is_loaded(tmp_path: Path, tone: Path) -> None:
    model = tmp_path / "store" / "silero-vad"
    model.mkdir(parents=True)
    (model / "silero_vad.onnx").write_bytes(b"short")
    result = backtalk("talk", tone, BACKTALK_MODELS=str(tmp_path / "store"))
    assert_refused(result, "backtalk models get")


@pytest.mark.models
def test_an_endpoint_that_refuses_is_found_before_the_conversation(tone: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    result = backtalk("talk", tone, "--fast", "--llm-url", url, "--llm-model", "any")
    assert_refused(result, "127.0.0.1:9")


@pytest.mark.models
def test_silence_and_noise_are_no_errors_and_get_no_reply(tmp_path: Path) -> None:
    noise = 0.05 * np.random.default_rng(0).standard_normal(32000)
    for name, pcm in (("silence", np.zeros(32000)), ("noise", noise)):
        write_wav(tmp_path / f"{name}.wav", pcm.astype(np.float32), 16000)
    files = [tmp_path / "silence.wav", tmp_path / "noise.wav"]
    result = backtalk("talk", *files, "--fast", "--json")
    assert result.returncode == 0, result.stderr
    turns = json.loads(result.stdout)["turns"]
    assert [(turn["transcript"], turn["ttfa_ms"]) for turn in turns] == [("", None)] * 2


def test_a_bench_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    assert_refused(backtalk("bench", "latency", tmp_path), "no recordings")
    assert_refused(backtalk("bench", "latency", tmp_path / "missing"), "not a folder")


@pytest.mark.parametrize("command", ["", "talk", "speak", "models", "bench", "doctor"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = backtalk(*command.split(), "--help")
    assert result.returncode == 0, result.stderr
    assert "backtalk" in result.stdout
