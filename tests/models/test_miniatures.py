"""What was trained here and is part of the package: each with its card, and each does its work."""

from __future__ import annotations

from pathlib import Path

import jiwer
import numpy as np
import pytest

from backtalk.audio.files import read_audio
from backtalk.audio.resample import resample
from backtalk.cascade.hibari_tts import build_hibari_tts
from backtalk.cascade.whisper_asr import WhisperAsr
from backtalk.errors import ModelError
from backtalk.llvc.config import SAMPLE_RATE
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.stream import convert
from backtalk.llvc.voice_file import read_voice
from backtalk.models.miniatures import FOLDER, miniature_or_file, miniature_path
from backtalk.models.store import ModelStore
from backtalk.scorers.spoken_words import spoken_words
from backtalk.stream.cancel import CancelToken
from backtalk.train.shipped_weights import SIZE_LIMIT_BYTES

NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
QUESTIONS = Path(__file__).parents[2] / "benchmarks" / "questions" / "plain"
ANSWERS = (
    "The capital of France is Paris.",
    "The day before Tuesday is Monday.",
    "The opposite of easy is difficult.",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_has_a_card_and_curves_and_is_small(name: str) -> None:
    card = (FOLDER / f"{name}.md").read_text()
    assert card.startswith(f"# {name}\n")
    assert f"]({name}.png)" in card
    assert (FOLDER / f"{name}.png").is_file()
    assert miniature_path(name).stat().st_size <= SIZE_LIMIT_BYTES


def test_a_miniature_goes_by_its_name_and_anything_else_is_a_file() -> None:
    assert miniature_or_file("units") == miniature_path("units")
    assert miniature_or_file("units.safetensors") == Path("units.safetensors")
    assert miniature_or_file("runs/units") == Path("runs/units")
    with pytest.raises(ModelError, match="backtalk train no-such-mini"):
        miniature_or_file("no-such-mini")


def test_one_that_is_not_there_says_how_to_train_it() -> None:
    with pytest.raises(ModelError, match="backtalk train no-such-mini"):
        miniature_path("no-such-mini")


@pytest.mark.models
def test_the_units_follow_the_speech() -> None:
    pytest.importorskip("torch")
    from backtalk.codecs.units.units_file import load_unit_tokenizer

    tokenizer = load_unit_tokenizer(miniature_path("units"))
    pcm = read_audio(next(QUESTIONS.glob("03-*.flac")), tokenizer.sample_rate).pcm
    units = tokenizer.encode(pcm)
    assert abs(len(units) - pcm.size / tokenizer.sample_rate * tokenizer.unit_rate) <= 1
    assert len(np.unique(units)) > len(units) // 4  # speech is many sounds
    louder = tokenizer.encode(np.clip(1.5 * pcm, -1, 1).astype(np.float32))
    assert np.mean(units == louder) > 0.6  # and they are the same sounds when it is louder


@pytest.fixture(scope="module")
def asr() -> WhisperAsr:
    return WhisperAsr(ModelStore.default().require("whisper-tiny.en"))


def spoken(text: str) -> np.ndarray:
    """A sentence in the corpus's answer voice, at 24 kHz."""
    pieces = build_hibari_tts().speak(text, CancelToken())
    return np.concatenate([piece.pcm for piece in pieces])


def error_share(asr: WhisperAsr, text: str, pcm: np.ndarray, sample_rate: int) -> float:
    """Words that the recogniser does not hear, of those that are said."""
    heard = asr.transcribe(resample(pcm, sample_rate, asr.sample_rate)).text
    return float(jiwer.wer(" ".join(spoken_words(text)), " ".join(spoken_words(heard))))


@pytest.mark.models
def test_the_voice_says_most_of_what_it_hears(asr: WhisperAsr) -> None:
    engine = LlvcEngine(read_voice(miniature_path("llvc")), chunk_factor=8)
    shares = []
    for path in sorted(QUESTIONS.glob("*.flac"))[:4]:
        pcm = read_audio(path, SAMPLE_RATE).pcm
        text = asr.transcribe(resample(pcm, SAMPLE_RATE, asr.sample_rate)).text
        made = convert(engine, pcm)
        assert np.abs(made - pcm).mean() > 0.3 * np.abs(pcm).mean()  # it is another sound
        shares.append(error_share(asr, text, made, SAMPLE_RATE))
    assert np.mean(shares) < 0.4


@pytest.mark.models
def test_the_codec_leaves_words_as_they_are(asr: WhisperAsr) -> None:
    pytest.importorskip("torch")
    from backtalk.codecs.mimi.load import load_mimi
    from backtalk.codecs.mimi.mimi_codec import MimiCodec

    codec = MimiCodec(load_mimi(miniature_path("mimi-mini")), 8)
    shares = []
    for text in ANSWERS:
        codes = codec.encode(spoken(text), 24_000)
        assert codes.shape[0] == 8
        shares.append(error_share(asr, text, codec.decode(codes), codec.sample_rate))
    assert np.mean(shares) < 0.2


@pytest.mark.models
@pytest.mark.parametrize("rvq", [8, "auto"])
def test_the_small_csm_says_what_it_reads(asr: WhisperAsr, rvq: int | str) -> None:
    pytest.importorskip("torch")
    from backtalk.csm.csm_mini import build_csm_mini

    voice = build_csm_mini(rvq=rvq)
    shares = []
    for text in ANSWERS:
        pcm = np.concatenate([piece.pcm for piece in voice.speak(text, CancelToken())])
        shares.append(error_share(asr, text, pcm, voice.sample_rate))
    assert np.mean(shares) < 0.3


@pytest.mark.models
def test_the_vocoder_says_what_the_units_say(asr: WhisperAsr) -> None:
    pytest.importorskip("torch")
    from backtalk.codecs.unit_vocoder.checkpoint import load_unit_vocoder
    from backtalk.codecs.unit_vocoder.unit_vocoder import UnitVocoder
    from backtalk.codecs.units.units_file import load_unit_tokenizer

    tokenizer = load_unit_tokenizer(miniature_path("units"))
    vocoder = UnitVocoder(load_unit_vocoder(miniature_path("unit-vocoder")))
    shares = []
    for text in ANSWERS:
        pcm = vocoder.decode(tokenizer.encode(spoken(text), 24_000))
        shares.append(error_share(asr, text, pcm, vocoder.sample_rate))
    assert np.mean(shares) < 0.2
