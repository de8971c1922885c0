from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtalk.audio.level import dbfs, first_audible_sample, last_audible_sample
from backtalk.cascade import hibari_tts
from backtalk.cascade.hibari_tts import HibariTts, build_hibari_tts
from backtalk.cascade.protocols import SpokenChunk
from backtalk.errors import ConfigError, StageError
from backtalk.stream.cancel import CancelToken

RATE = 24_000


class FakeHibari:
    """100 ms of tone per word inside 300 ms of silence before and 400 ms after."""

    def __init__(self) -> None:
        self.phonemised: list[str] = []
        self.calls: list[tuple[float, int | None]] = []

    @staticmethod
    def split_sentences(text: str) -> list[str]:
        return [s for s in re.split(r"(?<=[.!?])\s+", text.strip()) if s]

    def g2p(self, text: str) -> str:
        if "crash" in text:
            raise IndexError("list index out of range")
        self.phonemised.append(text)
        return "".join(char for char in text if char.isascii())

    def from_phonemes(self, phonemes: str, speed: float, seed: int | None) -> np.ndarray:
        self.calls.append((speed, seed))
        words = len(phonemes.split())
        tone = np.sin(np.arange(words * RATE // 10) / 10).astype(np.float32) / 2
        before, after = np.zeros(RATE * 3 // 10), np.zeros(RATE * 4 // 10)
        return np.concatenate([before, tone, after]).astype(np.float32)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeHibari:
    hibari = FakeHibari()
    monkeypatch.setattr(hibari_tts, "_load", lambda voice, threads: hibari)
    return hibari


def spoken(tts: HibariTts, text: str) -> list[SpokenChunk]:
    return list(tts.speak(text, CancelToken()))


def silences_ms(pcm: np.ndarray) -> tuple[float, float]:
    """Milliseconds of silence before and after the sound."""
    first, last = first_audible_sample(pcm, RATE), last_audible_sample(pcm, RATE)
    assert first is not None
    assert last is not None
    return 1000 * first / RATE, 1000 * (len(pcm) - 1 - last) / RATE


def test_every_sentence_is_a_chunk_with_its_own_text(fake: FakeHibari) -> None:
    chunks = spoken(HibariTts(), "It rains. Take a coat!")

    assert [chunk.text for chunk in chunks] == ["It rains.", "Take a coat!"]
    assert [chunk.pcm.dtype for chunk in chunks] == [np.float32, np.float32]


def test_the_voices_own_silence_is_fitted_to_the_punctuation(fake: FakeHibari) -> None:
    tts = HibariTts()
    for text, pause_ms in [("It rains.", 350), ("It rains,", 180), ("It rains", 80)]:
        (chunk,) = spoken(tts, text)
        before_ms, after_ms = silences_ms(chunk.pcm)
        assert before_ms == pytest.approx(10, abs=3)
        assert after_ms == pytest.approx(pause_ms, abs=3)


def test_a_faster_voice_pauses_for_less_time(fake: FakeHibari) -> None:
    (chunk,) = spoken(HibariTts(speed=2.0), "It rains.")

    assert silences_ms(chunk.pcm)[1] == pytest.approx(175, abs=3)


@pytest.mark.parametrize("text", ["", "  ", "!!!", "...", "\U0001f600", "\u5317\u4eac", "\ud800"])
def test_text_with_nothing_to_say_gives_no_chunk(fake: FakeHibari, text: str) -> None:
    assert spoken(HibariTts(), text) == []


def test_a_long_text_is_spoken_in_pieces_and_stops_when_cancelled(fake: FakeHibari) -> None:
    cancel = CancelToken()
    chunks = []
    for chunk in HibariTts().speak("rain falls on the green hill " * 140, cancel):
        chunks.append(chunk)
        if len(chunks) == 3:
            cancel.cancel()

    assert len(chunks) == 3
    assert len(fake.phonemised) == 3
    assert all(len(chunk.text) <= 200 for chunk in chunks)


def test_a_cancelled_call_speaks_nothing(fake: FakeHibari) -> None:
    cancel = CancelToken()
    cancel.cancel()

    assert list(HibariTts().speak("It rains.", cancel)) == []
    assert fake.phonemised == []


def test_numbers_that_hibari_fails_on_are_read_digit_by_digit(fake: FakeHibari) -> None:
    spoken(HibariTts(), "\u2460 is 12345678901234567890, 1,000 is short, 5\u00b2 is a square")

    assert fake.phonemised == [
        "1 is 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0, 1,000 is short, 52 is a square"
    ]


def test_a_failing_phonemiser_is_a_stage_error(fake: FakeHibari) -> None:
    with pytest.raises(StageError, match="hibari could not speak 'crash now'") as caught:
        spoken(HibariTts(), "crash now")
    assert caught.value.stage == "tts"


def test_options_reach_the_voice(fake: FakeHibari) -> None:
    tts = build_hibari_tts(None, speed=1.5, seed=None, threads=2)
    spoken(tts, "It rains.")

    assert fake.calls == [(1.5, None)]
    assert tts.description == "hibari heart"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 0.1}, "speed is 0.1"),
        ({"speed": float("nan")}, "speed is nan"),
        ({"threads": 0}, "threads is 0"),
        ({"voice": "nobody"}, "no voice 'nobody'; it has emma, fable, fenrir, heart, kore"),
    ],
)
def test_a_wrong_option_is_a_config_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_hibari_tts(None, **options)


def test_a_voice_that_is_not_here_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import hibari.voices

    def no_network(*_: object) -> str:
        raise AssertionError("the voice was fetched")

    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    monkeypatch.setattr(hibari.voices, "download", no_network)

    with pytest.raises(ConfigError, match="'emma' is not on this machine .*fetch it once with"):
        build_hibari_tts(None, voice="emma")


def test_a_damaged_voice_file_is_a_config_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    (tmp_path / "bf_emma.int8.onnx").write_bytes(b"not a network")

    with pytest.raises(ConfigError, match=r"'emma' cannot be loaded from .*bf_emma.int8.onnx"):
        build_hibari_tts(None, voice="emma")


@pytest.fixture(scope="module")
def real() -> HibariTts:
    tts = HibariTts()
    tts.warm_up()
    return tts


@pytest.mark.models
@pytest.mark.parametrize(
    ("text", "most_after_ms"),
    [
        ("The capital of France is Paris.", 350),
        ("Hello there,", 180),
        ("Thanks,", 180),
        ("Sure.", 350),
        ("she said", 80),
        ("Rain falls from clouds, and the light", 80),
    ],
)
def test_real_speech_starts_at_once_and_ends_soon(
    real: HibariTts, text: str, most_after_ms: float
) -> None:
    (chunk,) = spoken(real, text)

    before_ms, after_ms = silences_ms(chunk.pcm)
    assert before_ms <= 25  # 10 ms are kept; a soft onset may pass the threshold later
    assert after_ms <= most_after_ms + 5
    assert -32 < dbfs(chunk.pcm) < -18
    # No click at either end: -60 dBFS and less.
    assert abs(chunk.pcm[0]) < 1e-3
    assert abs(chunk.pcm[-1]) < 1e-3


@pytest.mark.models
def test_the_same_text_gives_the_same_samples_from_four_threads(real: HibariTts) -> None:
    text = "The quick brown fox jumps over zyxgarble dogs."
    (expected,) = spoken(real, text)
    heard: list[np.ndarray] = []

    def work() -> None:
        heard.extend(spoken(real, text)[0].pcm for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(heard) == 12
    assert all(np.array_equal(pcm, expected.pcm) for pcm in heard)


@pytest.mark.models
@pytest.mark.parametrize(
    "text",
    [
        "9" * 200,
        "\u2460 na\u00efve caf\u00e9 \u00bd \u00a35 24/7 \U0001f600",
        "[x](y) *bold* a_b {z} <b>",
        "e\u0301\u200d\x00",
        "a" * 500,
        '"Quoted," she said; (really)...',
    ],
)
def test_odd_text_is_spoken_or_skipped_but_never_fails(real: HibariTts, text: str) -> None:
    for chunk in spoken(real, text):
        assert np.isfinite(chunk.pcm).all()
        assert np.abs(chunk.pcm).max() <= 1.0


@pytest.mark.models
def test_symbols_alone_are_not_moaned(real: HibariTts) -> None:
    assert spoken(real, "!!!") == []
    assert spoken(real, "...") == []


@pytest.mark.models
def test_a_recogniser_hears_what_was_said(real: HibariTts) -> None:
    jiwer = pytest.importorskip("jiwer")
    import soxr

    from backtalk.cascade.whisper_asr import build_whisper_asr
    from backtalk.models.store import ModelStore

    asr = build_whisper_asr(ModelStore.default())
    sentences = [
        "The capital of France is Paris.",
        "A rainbow appears when sunlight shines through drops of rain.",
        "You could write a list of your tasks every morning.",
        "Cats sleep for most of the day.",
        "Boil the egg for seven minutes, then cool it in cold water.",
        "I am happy to help you with that.",
        "The sky looks blue because air scatters blue light.",
        "Goodbye, and have a lovely evening.",
    ]
    said, heard = [], []
    for sentence in sentences:
        pcm = np.concatenate([chunk.pcm for chunk in spoken(real, sentence)])
        transcript = asr.transcribe(soxr.resample(pcm, RATE, 16_000).astype(np.float32))
        said.append(re.sub(r"[^a-z ]", "", sentence.lower()))
        heard.append(re.sub(r"[^a-z ]", "", transcript.text.lower().replace("7", "seven")))

    assert jiwer.wer(said, heard) <= 0.15
