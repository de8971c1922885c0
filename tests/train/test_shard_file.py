"""Shards: what is written is read, damage is noticed, and nothing half-written has a name."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from backtalk.train.minitalk.corpus_error import CorpusError
from backtalk.train.minitalk.plan import ShardPlan
from backtalk.train.minitalk.shard_file import ShardWriter, read_shard
from train.fake_shards import FakeSpeakers, make_fake, say

PLAN = ShardPlan("test", 0, 6, seed=5)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "test-0000.tar"
    make_fake(PLAN, path)
    return path


def test_what_is_written_is_read(shard: Path) -> None:
    items = list(read_shard(shard))
    assert len(items) == 6
    for item in items:
        assert item.name.startswith("test-0000-")
        assert item.manner["pace"] > 0
        for spoken in item.turns:
            for said, text, rate in (
                (spoken.question, spoken.turn.question, 16_000),
                (spoken.answer, spoken.turn.answer, 24_000),
            ):
                assert said.text == text
                pcm, sample_rate = said.pcm()
                assert sample_rate == rate
                assert len(pcm) == pytest.approx(said.duration_s * rate, abs=2)
                assert said.words == say(text, rate).words


def test_recordings_are_what_was_spoken_to_16_bits(shard: Path) -> None:
    first = next(read_shard(shard)).turns[0]
    pcm, _ = first.answer.pcm()
    from backtalk.train.minitalk.voices import seed_of

    seed = seed_of(PLAN.seed, "test-0000-0000", 1)
    true = FakeSpeakers().answer(first.turn.answer, seed).pcm
    assert np.abs(pcm - true).max() <= 1 / 32768


def test_texts_can_be_read_alone(shard: Path) -> None:
    with_audio = list(read_shard(shard))
    texts = list(read_shard(shard, with_audio=False))
    assert [item.turns[0].turn for item in texts] == [item.turns[0].turn for item in with_audio]
    assert texts[0].turns[0].answer.flac == b""


def test_the_same_plan_gives_the_same_bytes(shard: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    make_fake(PLAN, again)
    assert again.read_bytes() == shard.read_bytes()


def test_the_layout_is_that_of_webdataset(shard: Path) -> None:
    with tarfile.open(shard) as tar:
        names = tar.getnames()
    stems = [name.split(".", 1)[0] for name in names]
    assert stems == sorted(stems)  # the members of a dialogue lie together
    first = [name.split(".", 1)[1] for name in names if name.startswith("test-0000-0000.")]
    assert first[:2] == ["1.question.flac", "1.answer.flac"]
    assert first[-1] == "json"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_shard_cut_short_is_refused(shard: Path, share: float) -> None:
    data = shard.read_bytes()
    shard.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CorpusError, match=r"test-0000.tar is damaged.*delete it and run"):
        list(read_shard(shard))


def test_a_changed_recording_is_refused(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    at = data.index(b"fLaC") + 600
    data[at] ^= 0xFF
    shard.write_bytes(bytes(data))
    with pytest.raises(CorpusError, match="not the recording that was written"):
        list(read_shard(shard))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"name": "x"}', b"\xff\xfe"])
def test_a_damaged_description_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "train-0000.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("x.json")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    with pytest.raises(CorpusError, match="is damaged"):
        list(read_shard(path))


def test_what_is_no_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-0000.tar"
    for content in (b"", b"hello", b"RIFF" * 1000):
        path.write_bytes(content)
        with pytest.raises(CorpusError):
            assert list(read_shard(path)) == "unreachable"
    with pytest.raises(CorpusError, match="cannot be read"):
        list(read_shard(tmp_path))


def test_a_shard_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "train-0000.tar"

    def write_and_fail() -> None:
        with ShardWriter(path) as writer:
            writer.add("a", "train", "joe", {}, [])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_descriptions_are_plain_json(shard: Path) -> None:
    with tarfile.open(shard) as tar:
        table = json.load(tar.extractfile("test-0000-0000.json"))
    assert set(table) == {"name", "split", "voice", "manner", "turns"}
    assert set(table["turns"][0]) == {
        "task",
        "key",
        "combinations",
        "held_out",
        "question",
        "answer",
    }
