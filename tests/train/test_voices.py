"""The real voices: word times that are true, and the same bytes from the same seed."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from backtalk.errors import ConfigError
from backtalk.models.store import ModelStore
from backtalk.scorers.spoken_words import spoken_words
from backtalk.train.minitalk.answer_voice import AnswerVoice
from backtalk.train.minitalk.grammar import draw_dialogue
from backtalk.train.minitalk.make_shard import make_shard
from backtalk.train.minitalk.onnx_outputs import with_output
from backtalk.train.minitalk.plan import ShardPlan
from backtalk.train.minitalk.shard_file import read_shard
from backtalk.train.minitalk.spoken import Sound, Spoken, Word, time_words, words_of
from backtalk.train.minitalk.voices import USER_VOICES, Manner, draw_manner, in_a_room
from backtalk.train.minitalk.workers import run_each

QUIET = Manner(1.0, 1.0, 0.1, 0.2, -6.0, None, "white")


def tone(seconds: float, sample_rate: int = 16_000) -> np.ndarray:
    return (0.3 * np.sin(np.arange(round(seconds * sample_rate)) * 0.2)).astype(np.float32)


def test_runs_of_sounds_become_words() -> None:
    sounds = [Sound(s, n / 10, (n + 1) / 10) for n, s in enumerate("hi, joe.")]
    assert time_words("Hi, Joe.", sounds) == (Word("Hi", 0.0, 0.2), Word("Joe", 0.4, 0.7))


def test_words_that_a_voice_runs_together_have_no_times() -> None:
    sounds = [Sound(s, n / 10, (n + 1) / 10) for n, s in enumerate("ofthe sea")]
    assert time_words("of the sea", sounds) == ()


def test_edges_are_exact_and_word_times_move_along() -> None:
    pcm = np.concatenate([np.zeros(8000, np.float32), tone(0.5), np.zeros(1000, np.float32)])
    spoken = Spoken(pcm, 16_000, (Word("tone", 0.5, 1.0),)).with_edges(0.1, 0.2)
    assert spoken.duration_s == pytest.approx(0.8, abs=0.001)
    assert spoken.words[0].start_s == pytest.approx(0.1, abs=0.001)
    assert spoken.words[0].end_s == pytest.approx(0.6, abs=0.001)


def test_a_faster_tape_is_shorter_and_so_are_its_words() -> None:
    spoken = Spoken(tone(1.0), 16_000, (Word("tone", 0.2, 0.8),)).played_at(1.25)
    assert spoken.duration_s == pytest.approx(0.8, abs=0.001)
    assert spoken.words == (Word("tone", pytest.approx(0.16), pytest.approx(0.64)),)


def test_noise_is_as_loud_as_it_should_be() -> None:
    for colour in ("white", "pink"):
        manner = Manner(1.0, 1.0, 0.1, 0.2, -6.0, 20.0, colour)
        clean = in_a_room(Spoken(tone(2.0), 16_000, ()), QUIET, np.random.default_rng(0)).pcm
        noisy = in_a_room(Spoken(tone(2.0), 16_000, ()), manner, np.random.default_rng(0)).pcm
        assert np.abs(clean).max() == pytest.approx(0.5, abs=0.01)
        snr_db = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
        assert snr_db == pytest.approx(20.0, abs=0.5)


def test_manners_stay_easy_to_understand() -> None:
    manners = [draw_manner(Random(seed)) for seed in range(300)]
    assert all(0.8 < m.pace < 1.3 and 0.8 < m.pitch < 1.2 for m in manners)
    assert all(m.noise_snr_db is None or m.noise_snr_db >= 20 for m in manners)


@pytest.mark.models
def test_the_answer_voice_speaks_a_word_when_it_says_it_does() -> None:
    from backtalk.cascade.whisper_model import WhisperModel

    voice = AnswerVoice()
    spoken = voice.speak("Seven plus twelve is nineteen.", seed=0).with_edges(0.02, 0.15)
    assert [word.text for word in spoken.words] == ["Seven", "plus", "twelve", "is", "nineteen"]
    ears = WhisperModel(ModelStore.default().require("whisper-tiny.en"))
    for number, heard in (
        (1, "plus twelve is nineteen"),
        (2, "twelve is nineteen"),
        (4, "nineteen"),
    ):
        after = round(spoken.words[number].start_s * 24_000)
        rest = Spoken(np.pad(spoken.pcm[after:], 6000), 24_000, ()).resampled(16_000)
        assert " ".join(spoken_words(ears.hear(rest.pcm).text)) == heard


@pytest.mark.models
def test_the_answer_voice_shows_every_word_of_the_grammar() -> None:
    voice = AnswerVoice()
    seen: set[str] = set()
    for seed in range(150):
        for turn in draw_dialogue(Random(seed), "joe").turns:
            words = set(words_of(turn.answer))
            if not words <= seen:
                seen |= words
                assert voice.speak(turn.answer, 0).words, turn.answer


@pytest.mark.models
def test_the_same_seed_gives_the_same_samples_in_any_process(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    plan = ShardPlan("valid", 0, 8, seed=2)
    paths = [tmp_path / "one.tar", tmp_path / "two.tar"]
    made = dict(run_each(make_shard, [(plan, path) for path in paths], jobs=2))
    assert made[0].question_s == made[1].question_s > 8
    assert paths[0].read_bytes() == paths[1].read_bytes()
    items = list(read_shard(paths[0]))
    assert {item.voice for item in items} <= set(USER_VOICES)
    assert len({item.voice for item in items}) > 2
    for item in items:
        for spoken in item.turns:
            for said in (spoken.question, spoken.answer):
                times = [t for word in said.words for t in (word.start_s, word.end_s)]
                assert times == sorted(times)
                assert all(0 <= t <= said.duration_s for t in times)


@pytest.mark.models
def test_a_voice_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from backtalk.train.minitalk.espeak_voice import EspeakVoices
    from backtalk.train.minitalk.piper_voice import PiperVoice

    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ConfigError, match=r"espeakng-loader.*pip install 'backtalk\[train\]'"):
        EspeakVoices()
    monkeypatch.setitem(sys.modules, "piper.voice", None)
    with pytest.raises(ConfigError, match=r"piper-tts.*pip install 'backtalk\[train\]'"):
        PiperVoice(Path(), 0)


def test_bytes_behind_a_model_name_another_output() -> None:
    # graph { output { name: "w" } } of onnx.proto3, by hand
    assert with_output(b"model", "w") == b"model" + bytes([0x3A, 5, 0x62, 3, 0x0A, 1]) + b"w"
    long_name = "/" + "x" * 200
    assert with_output(b"", long_name).endswith(long_name.encode())


@pytest.mark.models
def test_no_question_has_words_that_espeak_runs_together() -> None:
    pytest.importorskip("espeakng_loader")
    from backtalk.train.minitalk.espeak_voice import EspeakVoices

    voices = EspeakVoices()
    for seed in range(200):
        for turn in draw_dialogue(Random(seed), "us").turns:
            spoken = voices.speak(turn.question, "en-us", 200, 50)
            assert [word.text for word in spoken.words] == words_of(turn.question)
