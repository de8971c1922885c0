"""The recogniser: short windows lose nothing, loops and noise give no words, long turns settle."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest

from backtalk.audio.files import read_audio
from backtalk.audio.resample import resample
from backtalk.cascade.hibari_tts import build_hibari_tts
from backtalk.cascade.protocols import Transcript
from backtalk.cascade.whisper_asr import WhisperAsr, build_whisper_asr
from backtalk.cascade.whisper_model import WINDOW_S, WhisperModel
from backtalk.cascade.whisper_text import clean, is_suspect, repetition, without_loop
from backtalk.errors import ConfigError, ModelError
from backtalk.models.store import ModelStore
from backtalk.stream.cancel import CancelToken

QUESTIONS = Path(__file__).parents[2] / "benchmarks" / "questions" / "plain"


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def spoken(text: str) -> np.ndarray:
    tts = build_hibari_tts()
    pcm = np.concatenate([chunk.pcm for chunk in tts.speak(text, CancelToken())])
    return resample(pcm, tts.sample_rate, 16000)


@pytest.fixture(scope="module")
def asr() -> Iterator[WhisperAsr]:
    recogniser = build_whisper_asr(ModelStore.default())
    recogniser.warm_up()
    yield recogniser


def test_a_text_without_a_loop_is_left_alone() -> None:
    assert repetition([1, 2, 3, 4]) == (4, 1)
    assert without_loop([1, 2, 3, 4]) == (1, 2, 3, 4)
    assert not is_suspect([1, 2, 2, 2])  # "no no no"


@pytest.mark.parametrize("extra", [[], [1], [1, 2], [1, 2, 3]])
def test_a_loop_cut_anywhere_is_said_once(extra: list[int]) -> None:
    tokens = [9, 8, *[1, 2, 3, 4] * 3, *extra]
    assert is_suspect(tokens)
    assert without_loop(tokens)[:6] == (9, 8, 1, 2, 3, 4)
    assert len(without_loop(tokens)) == 6


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (" [BLANK_AUDIO]", ""),
        ("(music) Hello  there. ♪ la la ♪", "Hello there."),
        (" ... ", ""),
        ("*cough* Yes.", "Yes."),
    ],
)
def test_stage_directions_are_no_words(written: str, words: str) -> None:
    assert clean(written) == words


def test_a_damaged_model_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    folder = tmp_path / "whisper-tiny.en"
    folder.mkdir()
    for name in ("model.bin", "config.json", "vocabulary.txt", "tokenizer.json"):
        (folder / name).write_bytes(b"{}")
    with pytest.raises(ModelError, match="backtalk models get whisper-tiny.en"):
        WhisperAsr(folder)


@pytest.mark.models
@pytest.mark.parametrize("options", [{"threads": 0}, {"language": "de"}, {"beams": 5}])
def test_options_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        build_whisper_asr(ModelStore.default(), **options)


@pytest.mark.models
def test_short_windows_hear_what_the_full_window_hears_in_a_fraction_of_the_time(
    asr: WhisperAsr,
) -> None:
    model = WhisperModel(ModelStore.default().require("whisper-tiny.en"))
    short, full, short_s, full_s = [], [], [], []
    for path in sorted(QUESTIONS.glob("*.flac"))[::3]:
        pcm = read_audio(path).pcm
        began_s = time.process_time()
        short.append(plain(asr.transcribe(pcm).text))
        middle_s = time.process_time()
        full.append(plain(model.hear_wide(pcm, WINDOW_S).text))
        short_s.append(middle_s - began_s)
        full_s.append(time.process_time() - middle_s)
    assert jiwer.wer(full, short) <= 0.08
    assert np.median(short_s) * 3 < np.median(full_s)


@pytest.mark.models
@pytest.mark.parametrize(
    ("text", "said"), [("No, no, no, not that one.", "no no no"), ("Very, very good.", "very very")]
)
def test_what_is_truly_said_twice_stays(asr: WhisperAsr, text: str, said: str) -> None:
    assert said in plain(asr.transcribe(spoken(text)).text)


def noises() -> dict[str, np.ndarray]:
    rng, time_s = np.random.default_rng(0), np.arange(32000) / 16000
    return {
        "nothing": np.zeros(32000),
        "too short": 0.1 * rng.standard_normal(160),
        "empty": np.zeros(0),
        "white": 0.05 * rng.standard_normal(32000),
        "loud white": 0.3 * rng.standard_normal(32000),
        "hum": 0.1 * np.sin(2 * np.pi * 50 * time_s),
        "click": np.where(np.arange(32000) == 8000, 1.0, 0.0),
        "not numbers": np.full(16000, np.nan),
    }


@pytest.mark.models
@pytest.mark.parametrize("kind", list(noises()))
def test_noise_has_no_words(asr: WhisperAsr, kind: str) -> None:
    assert asr.transcribe(noises()[kind].astype(np.float32)) == Transcript("")


@pytest.mark.models
def test_a_long_turn_is_settled_as_it_goes_and_its_end_costs_no_more_than_a_short_turn(
    asr: WhisperAsr,
) -> None:
    sentences = [
        "I went to the market this morning to buy some bread and a bottle of milk.",
        "On the way home it began to rain, so I waited under a tree for a while.",
        "A neighbour came by with a large umbrella and offered to walk with me.",
        "We talked about the garden, the new school and the price of apples.",
        "When we arrived, the rain had stopped and the sun was shining again.",
        "I thanked her, made a cup of tea and sat down to read the newspaper.",
        "Later in the day my brother called and asked me to help him move a table.",
        "We carried it up three flights of stairs and then ordered a pizza.",
    ]
    pieces = [np.concatenate([spoken(text), np.zeros(6400, np.float32)]) for text in sentences]
    whole = np.concatenate(pieces)
    assert len(whole) > 30 * 16000
    heard, at, cost_s = None, 0, []
    for piece in pieces:
        at += len(piece)
        began_s = time.process_time()
        heard = asr.transcribe(whole[:at], heard)
        cost_s.append(time.process_time() - began_s)
    assert heard is not None
    assert jiwer.wer(plain(" ".join(sentences)), plain(heard.text)) <= 0.1
    assert heard.settled_samples > len(whole) - 10 * 16000
    assert cost_s[-1] < 4 * min(cost_s)
    # All at once gives the same words.
    assert jiwer.wer(plain(heard.text), plain(asr.transcribe(whole).text)) <= 0.05
