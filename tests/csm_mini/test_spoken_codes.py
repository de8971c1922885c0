"""Codes of a corpus: encoded once, taken up again, refused when they are another codec's."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backtalk.codecs.mimi.config import mimi_small  # noqa: E402
from backtalk.codecs.mimi.mimi_codec import MimiCodec  # noqa: E402
from backtalk.codecs.mimi.mimi_model import MimiModel  # noqa: E402
from backtalk.codecs.mimi.random_mimi import random_mimi  # noqa: E402
from backtalk.train import readings, spoken_codes  # noqa: E402
from backtalk.train.minitalk.corpus import Corpus, begin_corpus  # noqa: E402
from backtalk.train.minitalk.grammar import draw_dialogue  # noqa: E402
from backtalk.train.minitalk.plan import MiniTalkSettings  # noqa: E402
from backtalk.train.minitalk.shard_file import ShardWriter  # noqa: E402
from backtalk.train.minitalk.splits import Split  # noqa: E402
from backtalk.train.minitalk.spoken import Spoken  # noqa: E402
from backtalk.train.readings import SHARD, reading_codes  # noqa: E402
from backtalk.train.spoken_answers import answer_codes  # noqa: E402
from backtalk.train.spoken_codes import CodeStore, SpokenCodes, encode_all  # noqa: E402
from backtalk.train.training_error import TrainingError  # noqa: E402


@pytest.fixture(scope="module")
def codec() -> MimiModel:
    return random_mimi(0, mimi_small())


def noise(samples: int, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


def write_corpus(folder: Path) -> Corpus:
    """Two training shards and one of each other split, with noise for speech."""
    corpus = begin_corpus(folder, MiniTalkSettings(hours=0.3))
    for plan in corpus.plans:
        with ShardWriter(corpus.path_of(plan)) as shard:
            for number in range(plan.dialogues):
                random = Random(f"{plan.name}:{number}")
                dialogue = draw_dialogue(random, "us")
                turns = [
                    (
                        turn,
                        Spoken(noise(80, 0), 16_000, ()),
                        Spoken(noise(70, number), 24_000, ()),
                        False,
                    )
                    for turn in dialogue.turns
                ]
                shard.add(f"{plan.name}-{number:04d}", plan.split, "us", {}, turns)
    return corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def read(
    corpus: Corpus, split: Split, hours: float, folder: Path, codec: MimiModel, sha256: str = "a"
) -> SpokenCodes:
    return answer_codes(CodeStore(folder, codec, sha256, 3), corpus, split, hours)


def test_recordings_encoded_together_have_the_codes_of_a_stream(codec: MimiModel) -> None:
    sound = [noise(samples, samples) for samples in (13, 24, 100, 7)]
    together = encode_all(codec, sound, 3)
    alone = MimiCodec(codec, 3)
    for pcm, codes in zip(sound, together, strict=True):
        assert np.array_equal(codes, alone.encode(pcm))


def test_every_answer_of_a_split_is_there_with_its_text(
    corpus: Corpus, codec: MimiModel, tmp_path: Path
) -> None:
    spoken = read(corpus, "valid", 1.0, tmp_path, codec)
    turns = [turn for item in corpus.items("valid") for turn in item.turns]
    assert list(spoken.texts) == [turn.answer.text for turn in turns]
    pcm, _ = turns[3].answer.pcm()
    assert np.array_equal(spoken.of(3), MimiCodec(codec, 3).encode(pcm))
    assert spoken.codes.shape == (spoken.lengths.sum(), 3)


def test_what_is_encoded_is_not_encoded_again(
    corpus: Corpus, codec: MimiModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(corpus, "train", 1.0, tmp_path, codec)
    (tmp_path / "train-0001.safetensors").unlink()  # as if it had been stopped there
    encoded: list[int] = []

    def count(codec: MimiModel, sound: list[np.ndarray], codebooks: int) -> list[np.ndarray]:
        encoded.append(len(sound))
        return encode_all(codec, sound, codebooks)

    monkeypatch.setattr(spoken_codes, "encode_all", count)
    again = read(corpus, "train", 1.0, tmp_path, codec)
    assert len(encoded) == 1
    assert np.array_equal(again.codes, first.codes)
    assert again.texts == first.texts


def test_no_more_shards_are_read_than_are_wanted(
    corpus: Corpus, codec: MimiModel, tmp_path: Path
) -> None:
    read(corpus, "train", 0.0001, tmp_path, codec)
    assert [path.name for path in tmp_path.iterdir()] == ["train-0000.safetensors"]


def test_codes_of_another_codec_are_refused(
    corpus: Corpus, codec: MimiModel, tmp_path: Path
) -> None:
    read(corpus, "valid", 1.0, tmp_path, codec)
    with pytest.raises(TrainingError, match="another codec"):
        read(corpus, "valid", 1.0, tmp_path, codec, "b")


def test_a_damaged_file_is_named(corpus: Corpus, codec: MimiModel, tmp_path: Path) -> None:
    read(corpus, "valid", 1.0, tmp_path, codec)
    path = tmp_path / "valid-0000.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match=r"valid-0000.safetensors is damaged"):
        read(corpus, "valid", 1.0, tmp_path, codec)


def test_sentences_of_common_words_are_read_once_and_differ(
    codec: MimiModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "AnswerVoice", FakeVoice)
    store = CodeStore(tmp_path, codec, "a", 3)
    spoken = reading_codes(store, SHARD + 1, 0)
    assert len(set(spoken.texts)) == 2 * SHARD
    assert np.array_equal(spoken.of(5), MimiCodec(codec, 3).encode(noise(len(spoken.texts[5]), 0)))
    monkeypatch.setattr(readings, "AnswerVoice", None)
    assert reading_codes(store, SHARD, 0).texts == spoken.texts[:SHARD]
    with pytest.raises(TrainingError, match="another seed"):
        reading_codes(store, SHARD, 1)


class FakeVoice:
    """As many samples of noise as a text has characters."""

    sample_rate = 24_000

    def speak(self, text: str, seed: int) -> Spoken:
        return Spoken(noise(len(text), 0), self.sample_rate, ())
