"""`bench rvq --corpus`: which sentences are spoken, what is judged, and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("jiwer")

from backtalk.bench.rvq import Spoken  # noqa: E402
from backtalk.bench.rvq_quality import (  # noqa: E402
    codec_replies,
    held_out_answers,
    quality_row,
    spoken_replies,
)
from backtalk.cli.bench_rvq import rvq  # noqa: E402
from backtalk.codecs.mimi.random_mimi import random_mimi  # noqa: E402
from backtalk.errors import ConfigError  # noqa: E402
from backtalk.eval import judges  # noqa: E402
from backtalk.eval.judges import Judgement  # noqa: E402
from backtalk.eval.replies import Reply  # noqa: E402
from backtalk.scorers.dnsmos import SpeechQuality  # noqa: E402
from backtalk.train.minitalk.corpus import Corpus, begin_corpus  # noqa: E402
from backtalk.train.minitalk.plan import MiniTalkSettings  # noqa: E402
from csm_mini.small_csm import (  # noqa: E402
    CODEC,
    small_config,
    write_codec,
    write_csm,
)
from train.fake_shards import make_fake  # noqa: E402


class FakeJudges:
    """Hear the first word of every sentence only; rate by length."""

    def judge(self, reply: Reply) -> Judgement:
        if not reply.pcm.size:
            return Judgement(reply, "", False, None, None)
        seconds = len(reply.pcm) / reply.sample_rate
        quality = SpeechQuality(3.0, 3.0, 2.0 + min(2.0, seconds))
        return Judgement(reply, str(reply.text).split()[0], False, quality, 0.8)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    found = begin_corpus(tmp_path_factory.mktemp("corpus"), MiniTalkSettings(hours=0.05))
    for plan in found.plans:
        make_fake(plan, found.path_of(plan))
    return found


def test_sentences_are_those_whose_words_were_never_trained_on(corpus: Corpus) -> None:
    learnt = {turn.answer.text for item in corpus.items("train") for turn in item.turns}
    found = held_out_answers(corpus.folder, 5)
    texts = [reply.spoken.turn.answer for reply in found]
    assert len(set(texts)) == 5
    assert not learnt.intersection(texts)


@pytest.mark.parametrize("count", [0, 10_000])
def test_more_sentences_than_there_are_is_refused(corpus: Corpus, count: int) -> None:
    with pytest.raises(ConfigError, match=f"--sentences {count}"):
        held_out_answers(corpus.folder, count)


def test_a_row_counts_word_errors_over_all_words_and_silent_sentences(corpus: Corpus) -> None:
    true = held_out_answers(corpus.folder, 3)
    loud, silent = np.full(24_000, 0.1, np.float32), np.zeros(24_000, np.float32)
    spoken = [Spoken([1.0], [1000.0], 0.0, pcm) for pcm in (loud, loud, silent)]
    replies = spoken_replies(true, {2: spoken})[2]
    row = quality_row(2, [FakeJudges().judge(reply) for reply in replies])
    words = [len(reply.spoken.turn.answer.split()) for reply in true]
    wrong = words[0] - 1 + words[1] - 1 + words[2]
    assert row["wer"] == pytest.approx(wrong / sum(words), abs=1e-4)
    assert (row["n"], row["silent"], row["dnsmos"], row["seconds"]) == (3, 1, 3.0, 1.0)


def test_the_codec_alone_is_judged_at_every_fixed_depth(corpus: Corpus) -> None:
    true = held_out_answers(corpus.folder, 2)
    found = codec_replies(random_mimi(0, CODEC), true, [1, 4, "auto"])
    assert list(found) == [1, 4]
    assert not np.array_equal(found[1][0].pcm, found[4][0].pcm)


def test_the_command_judges_and_draws(
    corpus: Corpus, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "load_judges", lambda store, samples: FakeJudges())
    out = tmp_path / "quality"
    codec, model = tmp_path / "codec.safetensors", tmp_path / "model.safetensors"
    write_csm(model, small_config(card=32), write_codec(codec))
    rvq(
        depths="2,auto",
        model=model,
        codec=codec,
        weights="float32",
        device="cpu",
        corpus=corpus.folder,
        sentences=2,
        out=out,
    )
    assert "held-out sentences" in capsys.readouterr().out
    found = json.loads(out.with_suffix(".json").read_text())
    assert [row["depth"] for row in found["quality"]] == [2, "auto"]
    assert [row["depth"] for row in found["codec"]] == [2]
    assert found["recordings"]["n"] == 2
    assert out.with_suffix(".png").stat().st_size > 10_000


def test_a_text_and_a_corpus_exclude_each_other(corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        rvq(depths="2", corpus=corpus.folder, text="Hi.")
