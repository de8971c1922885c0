from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtalk.audio.level import dbfs, first_audible_sample, last_audible_sample
from backtalk.cascade import piper_tts
from backtalk.cascade.piper_tts import PiperTts, build_piper_tts
from backtalk.errors import BacktalkError, ConfigError, ModelError, StageError
from backtalk.models.store import ModelStore
from backtalk.stream.cancel import CancelToken

RATE = 22_050


@dataclass
class FakeChunk:
    audio_float_array: np.ndarray
    phonemes: list[str]


class FakeConfig:
    sample_rate = RATE
    length_scale = 1.0


class FakeVoice:
    """Half a second of tone per sentence inside 200 ms of silence on either side."""

    config = FakeConfig()

    def __init__(self) -> None:
        self.made = 0
        self.settings: Any = None

    def synthesize(self, text: str, settings: Any) -> Iterator[FakeChunk]:
        self.settings = settings
        for sentence in re.findall(r"[^.!?]+[.!?]*", text):
            if "crash" in sentence:
                raise RuntimeError("bad phoneme")
            self.made += 1
            tone = np.sin(np.arange(RATE // 2) / 10) / 2
            silence = np.zeros(RATE // 5)
            pcm = np.concatenate([silence, tone, silence]).astype(np.float32)
            yield FakeChunk(pcm, list(sentence))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeVoice:
    pytest.importorskip("piper")
    voice = FakeVoice()
    monkeypatch.setattr(piper_tts, "_load", lambda model, threads: voice)
    return voice


def test_a_sentence_is_a_chunk_and_the_first_carries_the_text(fake: FakeVoice) -> None:
    tts = PiperTts(Path("joe.onnx"))
    chunks = list(tts.speak("It rains. Take a coat!", CancelToken()))

    assert [chunk.text for chunk in chunks] == ["It rains. Take a coat!", ""]
    assert tts.sample_rate == RATE
    assert tts.description == "piper joe"


def test_silence_is_fitted(fake: FakeVoice) -> None:
    (chunk,) = PiperTts(Path("joe.onnx")).speak("and then", CancelToken())

    first = first_audible_sample(chunk.pcm, RATE)
    last = last_audible_sample(chunk.pcm, RATE)
    assert first == pytest.approx(0.010 * RATE, abs=0.003 * RATE)
    assert last is not None
    assert len(chunk.pcm) - last == pytest.approx(0.080 * RATE, abs=0.003 * RATE)


def test_cancel_is_seen_between_sentences(fake: FakeVoice) -> None:
    cancel = CancelToken()
    spoken = PiperTts(Path("joe.onnx")).speak("One. Two. Three. Four.", cancel)
    next(spoken)
    cancel.cancel()

    assert list(spoken) == []
    assert fake.made <= 2


@pytest.mark.parametrize("text", ["", "!!!", "\U0001f600", "--"])
def test_text_with_nothing_to_say_gives_no_chunk(fake: FakeVoice, text: str) -> None:
    assert list(PiperTts(Path("joe.onnx")).speak(text, CancelToken())) == []


def test_speed_shortens_and_sentences_keep_their_level(fake: FakeVoice) -> None:
    PiperTts(Path("joe.onnx"), speed=2.0).warm_up()

    assert fake.settings.length_scale == 0.5
    assert fake.settings.normalize_audio is False


def test_a_failing_voice_is_a_stage_error(fake: FakeVoice) -> None:
    with pytest.raises(StageError, match="piper could not speak 'crash'"):
        list(PiperTts(Path("joe.onnx")).speak("crash", CancelToken()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 9.0}, "speed is 9.0"),
        ({"threads": 0}, "threads is 0"),
        ({"voice": "no/such.onnx"}, "no/such.onnx does not exist"),
    ],
)
def test_a_wrong_option_is_a_config_error(options: dict[str, Any], message: str) -> None:
    pytest.importorskip("piper")
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_piper_tts(None, **{"voice": "no/such.onnx", **options})


def test_a_voice_that_is_not_in_the_store_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="backtalk models get piper-joe"):
        build_piper_tts(ModelStore(tmp_path))


def test_an_unknown_voice_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BacktalkError, match="piper-nobody"):
        build_piper_tts(ModelStore(tmp_path), voice="nobody")


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "piper.voice", None)

    with pytest.raises(ConfigError, match=re.escape('pip install "backtalk[piper]"')):
        PiperTts(Path("joe.onnx"))


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("{}", "is not a Piper voice description"),
        ("not json", "is not a Piper voice description"),
        (
            '{"num_symbols": 1, "num_speakers": 1, "audio": {"sample_rate": 16000},'
            ' "espeak": {"voice": "zh"}, "phoneme_id_map": {}, "phoneme_type": "pinyin"}',
            "fetched on first use",
        ),
        (
            '{"num_symbols": 1, "num_speakers": 1, "audio": {"sample_rate": 16000},'
            ' "espeak": {"voice": "en"}, "phoneme_id_map": {}}',
            "joe.onnx is not a Piper voice",
        ),
    ],
)
def test_a_file_that_is_no_voice_is_a_config_error(
    tmp_path: Path, description: str, message: str
) -> None:
    pytest.importorskip("piper")
    model = tmp_path / "joe.onnx"
    model.write_bytes(b"not a network")
    Path(f"{model}.json").write_text(description)

    with pytest.raises(ConfigError, match=message):
        build_piper_tts(None, voice=str(model))


@pytest.mark.models
def test_the_real_voice_speaks_at_once_and_at_a_speech_level() -> None:
    pytest.importorskip("piper")
    tts = build_piper_tts(ModelStore.default())
    tts.warm_up()

    chunks = list(tts.speak("Hello there. How are you?", CancelToken()))

    assert len(chunks) == 2
    for chunk in chunks:
        first = first_audible_sample(chunk.pcm, tts.sample_rate)
        assert first is not None
        assert first <= 0.012 * tts.sample_rate
        assert -32 < dbfs(chunk.pcm) < -18
