"""Scores: what counts, what does not, and how sure they are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from backtalk.eval.judges import Judgement
from backtalk.eval.replies import Reply
from backtalk.eval.report import Evaluated, eval_table
from backtalk.eval.scores import reply_wer, score, share_of
from backtalk.scorers.dnsmos import SpeechQuality
from backtalk.train.minitalk.grammar import sum_turn
from backtalk.train.minitalk.shard_file import SpokenTurn, Utterance

NO_SOUND = Utterance("", 0.0, ())
TURN = sum_turn("What is two plus two?", "plus", 2, 2)


def judged(
    text: str | None,
    heard: str,
    right: bool,
    *,
    held_out: bool = True,
    ttfa_ms: float | None = 300.0,
    mos: float | None = 3.0,
) -> Judgement:
    spoken = SpokenTurn(TURN, NO_SOUND, NO_SOUND, held_out)
    reply = Reply("a.1", "joe", spoken, text, np.zeros(0, np.float32), 24_000, ttfa_ms, 0.1)
    quality = None if mos is None else SpeechQuality(mos, mos, mos)
    return Judgement(reply, heard, right, quality, None if mos is None else 0.8)


def test_questions_that_are_not_held_out_do_not_count() -> None:
    scores = score([judged("four", "four", True), judged("x", "y", False, held_out=False)])
    assert (scores.accuracy.right, scores.accuracy.of) == (1, 1)
    assert scores.reply_wer == 0.0


def test_a_question_without_a_reply_is_answered_wrongly() -> None:
    silent = judged(None, "", False, ttfa_ms=None, mos=None)
    scores = score([judged("four", "four", True), silent])
    assert scores.accuracy.share == 0.5
    assert scores.answered == 1
    assert scores.ttfa_ms is not None
    assert scores.ttfa_ms.n == 1


def test_word_errors_are_of_all_words_together_and_blind_to_spelling() -> None:
    pairs = [judged("Two plus two is 4.", "two plus two is four", True), judged("No.", "Go", False)]
    assert reply_wer(pairs) == pytest.approx(1 / 6)


def test_a_system_that_never_says_what_it_says_has_no_word_errors() -> None:
    assert score([judged(None, "four", True)]).reply_wer is None


def test_a_share_says_how_sure_it_is() -> None:
    few, many = share_of([True, False] * 5), share_of([True, False] * 500)
    assert few.low < 0.25
    assert few.high > 0.75
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(1000), rel=0.02)
    assert share_of([True] * 20).high == pytest.approx(1.0)
    with pytest.raises(ValueError, match="nothing"):
        share_of([])


def test_the_table_has_a_row_for_each_system_and_the_reference() -> None:
    scores = score([judged("four", "four", True), judged("four", "for", False)])
    table = eval_table(scores, [Evaluated("mini", {}, [], scores)])
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["mini", "the corpus's own answers"]
    assert cells[1] == ["50.0", "50.0"]
    assert cells[3] == ["50.0", "50.0"]


def test_scores_are_json() -> None:
    found = json.loads(json.dumps(score([judged("four", "four", True)]).as_dict()))
    assert found["accuracy"]["right"] == 1
    assert found["dnsmos_overall"]["p50"] == 3.0
    assert found["by_task"]["sum"]["of"] == 1
