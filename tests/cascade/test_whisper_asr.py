"""The recogniser: short windows lose nothing, loops and noise give no words, long turns settle."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest

from backtalk.audio.files import read_audio
from backtalk.audio.resample import resample
from backtalk.cascade.hibari_tts import build_hibari_tts
from backtalk.cascade.protocols import Transcript
from backtalk.cascade.whisper_asr import WhisperAsr, build_whisper_asr
from backtalk.cascade.whisper_model import WINDOW_S, Hypothesis, WhisperModel
from backtalk.cascade.whisper_text import clean, is_suspect, repetition, without_loop
from backtalk.errors import ConfigError, ModelError, StageError
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
def asr() -> WhisperAsr:
    recogniser = build_whisper_asr(ModelStore.default())
    recogniser.warm_up()
    return recogniser


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


def hypothesis(text: str, tokens: list[int], **changes: Any) -> Hypothesis:
    heard = Hypothesis(text, tuple(tokens), False, 0.05, -0.2)
    return replace(heard, **changes)


class ScriptedModel:
    """Hears what it was told to, and notes how it was asked."""

    def __init__(self, short: Hypothesis, wide: Hypothesis | None = None) -> None:
        self.short, self.wide = short, wide
        self.asked: list[str] = []

    def hear(self, pcm: np.ndarray) -> Hypothesis:
        self.asked.append("short")
        return self.short

    def hear_wide(self, pcm: np.ndarray) -> Hypothesis:
        assert self.wide is not None, "it was not to be heard again"
        self.asked.append("wide")
        return self.wide

    def text_of(self, tokens: Sequence[int]) -> str:
        return " ".join(str(token) for token in tokens)


def scripted(monkeypatch: pytest.MonkeyPatch, model: ScriptedModel) -> WhisperAsr:
    monkeypatch.setattr("backtalk.cascade.whisper_asr.WhisperModel", lambda *_: model)
    return WhisperAsr(Path("whisper-scripted"))


SOUND = np.full(16000, 0.1, np.float32)
LOOP = [1, 2, 3, 4] * 4


def test_what_looks_like_a_loop_is_heard_again_and_that_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ScriptedModel(hypothesis("a b a b", LOOP), hypothesis("a b", [1, 2, 3, 4]))
    assert scripted(monkeypatch, model).transcribe(SOUND).text == "a b"
    assert model.asked == ["short", "wide"]


def test_a_phrase_truly_said_twice_stays_if_it_is_heard_twice_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twice = hypothesis("Turn it off. Turn it off.", [1, 2, 3, 4] * 2)
    model = ScriptedModel(twice, twice)
    assert scripted(monkeypatch, model).transcribe(SOUND).text == "Turn it off. Turn it off."


def test_a_loop_that_never_ends_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = hypothesis("", [9, *LOOP, 1, 2], is_unended=True)
    model = ScriptedModel(endless, endless)
    assert scripted(monkeypatch, model).transcribe(SOUND).text == "9 1 2 3 4"


def test_a_phrase_out_of_silence_is_dropped_only_if_nobody_seems_to_speak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = hypothesis("Thank you.", [1, 2])
    assert scripted(monkeypatch, ScriptedModel(said)).transcribe(SOUND).text == "Thank you."
    unsaid = replace(said, no_speech_probability=0.9)
    assert scripted(monkeypatch, ScriptedModel(unsaid)).transcribe(SOUND).text == ""


def test_settled_words_are_kept_and_their_audio_is_not_heard_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ScriptedModel(hypothesis("and the rest.", [1, 2, 3]))
    earlier = Transcript("The start and", settled_samples=8000, settled_text="The start")
    heard = scripted(monkeypatch, model).transcribe(SOUND, earlier)
    assert heard == Transcript("The start and the rest.", 8000, "The start")
    assert model.asked == ["short"]


def test_an_earlier_result_on_longer_audio_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel(hypothesis("Hello.", [1, 2]))
    earlier = Transcript("Other", settled_samples=99_999, settled_text="Other")
    assert scripted(monkeypatch, model).transcribe(SOUND, earlier) == Transcript("Hello.")


@pytest.mark.models
@pytest.mark.parametrize("half", ["encode", "generate"])
def test_a_failure_of_the_model_is_one_of_the_asr_stage(
    half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = WhisperModel(ModelStore.default().require("whisper-tiny.en"))

    class Broken:
        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            if name == half:
                raise RuntimeError("out of memory")
            return getattr(self.real, name)

    monkeypatch.setattr(model, "_model", Broken(model._model))
    with pytest.raises(StageError, match="out of memory") as failed:
        model.hear(SOUND)
    assert failed.value.stage == "asr"


@pytest.mark.models
def test_the_multilingual_model_hears_english() -> None:
    base = build_whisper_asr(ModelStore.default(), model="whisper-base")
    pcm = spoken("What time does the next train leave?")
    assert plain(base.transcribe(pcm).text) == "what time does the next train leave"
    with pytest.raises(ConfigError, match="xx"):
        build_whisper_asr(ModelStore.default(), model="whisper-base", language="xx")


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
        "tone": 0.1 * np.sin(2 * np.pi * 440 * time_s),
        "notes": 0.2 * np.sin(2 * np.pi * np.repeat([262, 330, 392, 523], 8000) * time_s),
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
