"""Making a corpus: the same whatever happens on the way, and refused where it cannot be right."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backtalk.errors import ConfigError
from backtalk.train.minitalk.corpus import Corpus
from backtalk.train.minitalk.corpus_error import CorpusError
from backtalk.train.minitalk.generate import MakeShard, generate
from backtalk.train.minitalk.plan import MiniTalkSettings
from backtalk.train.minitalk.workers import WorkerDiedError
from train import fake_shards

SMALL = MiniTalkSettings(hours=0.02, seed=1)


def make(folder: Path, work: MakeShard = fake_shards.make_fake, jobs: int = 2) -> Corpus:
    return generate(folder, SMALL, jobs, lambda plan, made: None, make=work).corpus


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minitalk") / "whole"
    make(folder)
    return folder


def test_a_corpus_has_all_its_shards_and_a_card(whole: Path) -> None:
    assert list(shards(whole)) == ["test-0000.tar", "train-0000.tar", "valid-0000.tar"]
    card = (whole / "README.md").read_text()
    assert "--hours 0.02 --seed 1" in card
    assert "CC0" in card
    assert Corpus(whole).missing() == []
    assert not list(whole.glob("*.partial"))


def test_one_process_gives_the_same_bytes_as_two(whole: Path, tmp_path: Path) -> None:
    make(tmp_path / "one", jobs=1)
    assert shards(tmp_path / "one") == shards(whole)


def test_what_is_there_is_not_made_again(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "valid-0000.tar").unlink()
    told = []
    generate(
        folder, SMALL, 1, lambda plan, made: told.append(plan.name), make=fake_shards.make_fake
    )
    assert told == ["valid-0000"]
    assert shards(folder) == shards(whole)


def test_a_worker_that_is_killed_is_noticed_and_its_shard_made_later(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    with pytest.raises(WorkerDiedError, match="code -9"):
        make(folder, fake_shards.make_until_killed, jobs=1)
    assert "train-0000.tar" not in shards(folder)
    assert list(folder.glob("*.partial"))
    make(folder)
    assert shards(folder) == shards(whole)
    assert not list(folder.glob("*.partial"))


def test_a_run_killed_at_any_moment_goes_on(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    code = (
        "from pathlib import Path; import sys; from train import fake_shards; "
        "from train.test_generate import SMALL; "
        "from backtalk.train.minitalk.generate import generate; "
        "generate(Path(sys.argv[1]), SMALL, 1, lambda plan, made: None, "
        "make=fake_shards.make_slowly)"
    )
    tests = str(Path(__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], env={**os.environ, "PYTHONPATH": tests}
    )
    while not list(folder.glob("*.tar")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(shards(folder)) < 3
    make(folder)
    assert shards(folder) == shards(whole)


def test_a_disk_that_fills_up_leaves_nothing_half_written(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    with pytest.raises(CorpusError, match="disk full.*run the same command again"):
        make(folder, fake_shards.make_on_full_disk, jobs=1)
    assert not list(folder.glob("*.partial"))
    make(folder)
    assert shards(folder) == shards(whole)


def test_a_disk_too_small_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(CorpusError, match=r"needs about 3\.4 MB more.*1\.0 MB are free"):
        make(tmp_path / "new")
    assert shards(tmp_path / "new") == {}


def test_a_bug_in_a_worker_shows_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"):
        make(tmp_path / "new", fake_shards.make_wrongly)


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("my only copy")
    with pytest.raises(CorpusError, match="is not empty"):
        make(tmp_path)
    with pytest.raises(CorpusError, match="is not a folder"):
        make(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_corpus_of_other_settings_is_refused(whole: Path) -> None:
    with pytest.raises(CorpusError, match=r"seed=1, not hours=0\.02 seed=2"):
        generate(whole, MiniTalkSettings(0.02, 2), 1, lambda plan, made: None)


def test_a_corpus_begun_with_other_versions_is_not_finished(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(whole, folder)
    table = json.loads((folder / "corpus.json").read_text())
    table["made_with"]["hibari-tts"] = "0.0.1"
    (folder / "corpus.json").write_text(json.dumps(table))
    make(folder)  # complete: nothing would sound different
    (folder / "test-0000.tar").unlink()
    with pytest.raises(CorpusError, match=r"hibari-tts 0\.0\.1, now "):
        make(folder)


def test_two_processes_do_not_make_the_same_folder(whole: Path) -> None:
    from filelock import FileLock

    with (
        FileLock(whole / ".lock"),
        pytest.raises(CorpusError, match="another process is making"),
    ):
        make(whole)


def test_an_unknown_setting_is_named_with_the_nearest_known_one(
    whole: Path, tmp_path: Path
) -> None:
    table = json.loads((whole / "corpus.json").read_text())
    table["settings"]["hour"] = 3
    (tmp_path / "corpus.json").write_text(json.dumps(table))
    with pytest.raises(ConfigError, match="unknown setting 'hour'; did you mean 'hours'"):
        Corpus(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": "minitalk 9"}', '{"format": "minitalk 1"}']
)
def test_a_damaged_description_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(CorpusError, match=r"corpus\.json"):
        Corpus(tmp_path)


@pytest.mark.parametrize("shards", [3, None, ["x"], [["train", "x", 1]], [["train", 1]]])
def test_a_damaged_list_of_shards_is_refused(whole: Path, tmp_path: Path, shards: object) -> None:
    table = json.loads((whole / "corpus.json").read_text())
    (tmp_path / "corpus.json").write_text(json.dumps({**table, "shards": shards}))
    with pytest.raises(CorpusError, match="lists its shards wrongly"):
        Corpus(tmp_path)


def test_a_folder_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no MiniTalk corpus"):
        Corpus(tmp_path)
    with pytest.raises(CorpusError, match="is not a folder"):
        Corpus(tmp_path / "nothing")


def test_a_missing_shard_is_named(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "part"
    shutil.copytree(whole, folder)
    (folder / "test-0000.tar").unlink()
    with pytest.raises(CorpusError, match=r"test-0000\.tar is missing; run the command"):
        list(Corpus(folder).items("test"))
    assert list(Corpus(folder).items("valid"))


def test_a_damaged_shard_stops_the_check_and_is_made_again_once_deleted(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    shard = folder / "valid-0000.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(CorpusError, match="delete it and run the command"):
        make(folder)
    shard.unlink()
    make(folder)
    assert shards(folder) == shards(whole)


def test_a_shard_that_lacks_its_last_dialogues_is_noticed(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(whole, folder)
    shard = folder / "train-0000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[: data.index(b"train-0000-0003.1.question.flac")])
    with pytest.raises(CorpusError, match=r"cut short \(3 of 18 dialogues\)"):
        list(Corpus(folder).items())


def test_a_corpus_that_leaks_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "leaky"
    shutil.copytree(whole, folder)
    (folder / "train-0000.tar").unlink()
    with pytest.raises(CorpusError, match="leaks: .*asks what was taught"):
        make(folder, fake_shards.make_a_leak)
