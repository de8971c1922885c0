from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from backtalk.audio.files import read_audio
from backtalk.cascade import plugins
from backtalk.cascade.protocols import SpokenChunk
from backtalk.cli.speak import speak
from backtalk.errors import AudioError, BacktalkError
from backtalk.stream.cancel import CancelToken

app = typer.Typer()
app.command()(speak)
RUNNER = CliRunner()
RATE = 24_000


class FakeTts:
    """A tenth of a second of tone per word, after 10 ms of silence."""

    sample_rate = RATE

    def __init__(self) -> None:
        self.said: list[str] = []
        self.options: dict[str, Any] = {}
        self.is_warm = False

    def speak(self, text: str, cancel: CancelToken) -> Iterator[SpokenChunk]:
        self.said.append(text)
        tone = np.full(RATE // 10 * len(text.split()), 0.25, np.float32)
        if "mute" not in text:
            yield SpokenChunk(np.concatenate([np.zeros(RATE // 100, np.float32), tone]), text)

    def warm_up(self) -> None:
        self.is_warm = True


@pytest.fixture
def tts(monkeypatch: pytest.MonkeyPatch) -> FakeTts:
    """`--tts fake`."""
    engine = FakeTts()
    real_find = plugins.find

    def build(store: object, **options: Any) -> FakeTts:
        engine.options = options
        return engine

    def find(group: str, name: str) -> Callable[..., Any]:
        return build if name == "fake" else real_find(group, name)

    monkeypatch.setattr(plugins, "find", find)
    return engine


def failure(*arguments: str, stdin: str | bytes | None = None) -> str:
    """The one line with which the command fails; `backtalk`'s main makes it exit code 2."""
    result = RUNNER.invoke(app, list(arguments), input=stdin)
    assert isinstance(result.exception, BacktalkError), result.output
    line = str(result.exception)
    assert "\n" not in line
    return line


def test_a_text_becomes_a_wav_file(tts: FakeTts, tmp_path: Path) -> None:
    out = tmp_path / "hello.wav"
    result = RUNNER.invoke(app, ["Hello there.", "--out", str(out), "--tts", "fake"])

    assert result.exit_code == 0, result.output
    assert "first audio after" in result.stdout
    assert str(out) in result.stdout.replace("\n", "")
    with wave.open(str(out)) as wav:
        assert wav.getframerate() == RATE
        assert wav.getnframes() == RATE // 10 * 2 + RATE // 100
    assert tts.is_warm
    assert tts.options == {}


def test_json_is_one_object(tts: FakeTts, tmp_path: Path) -> None:
    out = tmp_path / "hello.wav"
    result = RUNNER.invoke(app, ["Hello there.", "--out", str(out), "--tts", "fake", "--json"])

    report = json.loads(result.stdout)
    assert report["out"] == str(out)
    assert report["text"] == "Hello there."
    assert report["audio_s"] == pytest.approx(0.21)
    assert report["sample_rate"] == RATE
    assert report["tts"] == "fake"
    assert report["watermark"] is False
    assert report["ttfa_ms"] >= 10
    assert 0 < report["rtf"] < 1
    assert "processor" in report["machine"]


def test_text_comes_from_standard_input_and_is_cut_and_made_speakable(
    tts: FakeTts, tmp_path: Path
) -> None:
    out = tmp_path / "page.wav"
    text = "**It rains** today. I have 3 coats.\n"
    result = RUNNER.invoke(app, ["-", "--out", str(out), "--tts", "fake"], input=text)

    assert result.exit_code == 0, result.output
    assert " ".join(tts.said) == "It rains today. I have three coats."
    assert len(tts.said) == 2


def test_voice_and_speed_reach_the_plug_in(tts: FakeTts, tmp_path: Path) -> None:
    arguments = ["Hi.", "--out", str(tmp_path / "a.wav"), "--tts", "fake"]
    RUNNER.invoke(app, [*arguments, "--voice", "joe", "--speed", "1.5"])

    assert tts.options == {"voice": "joe", "speed": 1.5}


def test_options_that_only_the_plug_in_knows_reach_it(tts: FakeTts, tmp_path: Path) -> None:
    arguments = ["Hi.", "--out", str(tmp_path / "a.wav"), "--tts", "fake", "--voice", "me.wav"]
    RUNNER.invoke(app, [*arguments, "--tts-option", "pitch=2", "--tts-option", "voice_text=I am"])

    assert tts.options == {"voice": "me.wav", "pitch": "2", "voice_text": "I am"}


def test_what_is_written_is_watermarked_and_what_is_played_is_not(
    tts: FakeTts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FakeWatermark:
        def mark(self, pcm: np.ndarray, sample_rate: int) -> np.ndarray:
            assert (pcm.size, sample_rate) == (RATE // 10 * 2 + RATE // 100, RATE)
            assert np.abs(pcm).max() == 0.25
            return pcm / 2

    monkeypatch.setattr("backtalk.watermark.watermark.Watermark", FakeWatermark)
    out = tmp_path / "a.wav"
    arguments = ["Hello there.", "--out", str(out), "--tts", "fake", "--watermark"]
    report = json.loads(RUNNER.invoke(app, [*arguments, "--json"]).stdout)

    assert report["watermark"] is True
    assert read_audio(out).pcm.max() == pytest.approx(0.125, abs=1e-3)
    assert "watermarked" in RUNNER.invoke(app, arguments).stdout


def test_a_watermark_that_cannot_be_made_is_said_before_anything_is_spoken(
    tts: FakeTts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backtalk.watermark.watermark.PACKAGE", "no-such-package")
    arguments = ["Hi.", "--out", str(tmp_path / "a.wav"), "--tts", "fake", "--watermark"]

    assert "pip install 'backtalk[watermark]'" in failure(*arguments)
    assert not tts.is_warm


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["Hi."], None, "give --out FILE.wav or --play"),
        (["", "--out", "a.wav"], None, "there is no text to say"),
        (["-", "--out", "a.wav"], "  \n", "there is no text to say"),
        (["-", "--out", "a.wav"], b"\xff\xfe", "not UTF-8"),
        (["x" * 4001, "--out", "a.wav"], None, "longer than the 4000 characters"),
        (["-", "--out", "a.wav"], "word " * 20_000, "longer than the 4000 characters"),
        (["Hi.", "--out", "no/such/folder/a.wav"], None, "there is no folder no/such/folder"),
        (["Hi.", "--out", "a.mp3"], None, "only WAV is written"),
        (["Hi.", "--out", "folder.wav"], None, "is a folder"),
        (["\U0001f600", "--out", "a.wav", "--tts", "fake"], None, "nothing to say"),
        (["mute.", "--out", "a.wav", "--tts", "fake"], None, "found nothing to say"),
        (["Hi.", "--play", "--watermark"], None, "give --out"),
        (["Hi.", "--out", "a.wav", "--tts-option", "pitch=2"], None, "an option of hibari: voice"),
        (["Hi.", "--out", "a.wav", "--speed", "2", "--tts-option", "speed=1"], None, "given twice"),
        (["Hi.", "--out", "a.wav", "--tts", "nobody"], None, "nobody"),
        (["Hi.", "--out", "a.wav", "--voice", "nobody"], None, "nobody"),
        (["Hi.", "--out", "a.wav", "--speed", "9"], None, "speed is 9.0"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tts: FakeTts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    stdin: str | bytes | None,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.wav").mkdir()

    assert message in failure(*arguments, stdin=stdin)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.wav"]


def test_no_more_of_standard_input_is_read_than_is_allowed(
    tts: FakeTts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = io.StringIO("a" * 1_000_000)
    monkeypatch.setattr("sys.stdin", endless)

    with pytest.raises(BacktalkError, match="longer than"):
        speak("-", out=tmp_path / "a.wav", tts="fake")
    assert endless.tell() <= 4001


def test_play_hands_every_piece_to_the_loudspeaker(
    tts: FakeTts, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[np.ndarray] = []

    class FakeSpeaker:
        def __init__(self, sample_rate: int) -> None:
            assert sample_rate == RATE

        async def __aenter__(self) -> FakeSpeaker:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        def play(self, pcm: np.ndarray) -> None:
            played.append(pcm)

        async def drain(self) -> None:
            played.append(np.zeros(0, np.float32))

    monkeypatch.setattr("backtalk.audio.device.Speaker", FakeSpeaker)
    result = RUNNER.invoke(app, ["It rains. Take a coat.", "--play", "--tts", "fake"])

    assert result.exit_code == 0, result.output
    assert [pcm.size > 0 for pcm in played] == [True, True, False]
    assert result.stdout.startswith("played: ")


def test_without_a_loudspeaker_nothing_is_written(
    tts: FakeTts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoSpeaker:
        def __init__(self, sample_rate: int) -> None:
            raise AudioError("there is no loudspeaker; write a file with --out")

    monkeypatch.setattr("backtalk.audio.device.Speaker", NoSpeaker)
    out = tmp_path / "a.wav"

    assert "no loudspeaker" in failure("Hi.", "--play", "--out", str(out), "--tts", "fake")
    assert not out.exists()


@pytest.mark.models
def test_the_default_voice_speaks_within_a_fraction_of_a_second(tmp_path: Path) -> None:
    out = tmp_path / "hello.wav"
    result = RUNNER.invoke(app, ["Hello there.", "--out", str(out), "--json"])

    report = json.loads(result.stdout)
    assert report["ttfa_ms"] < 500
    assert report["rtf"] < 1
    assert out.stat().st_size > 10_000
