"""Scores of conversions, by ears that measure tones."""

from __future__ import annotations

import pytest

from backtalk.train.conversion.conversion_scores import ConversionJudge, word_errors
from backtalk.train.conversion.teacher import Pair
from train_llvc.tone_pairs import TonalEars, tone


@pytest.mark.parametrize(
    ("text", "heard", "errors"),
    [("a b c", "a b c", 0), ("a b c", "a c", 1), ("a b", "a x b", 1), ("a b", "", 2), ("", "a", 1)],
)
def test_words_in_out_and_wrong_are_errors(text: str, heard: str, errors: int) -> None:
    assert word_errors(text.split(), heard.split()) == errors


def test_the_teachers_own_sound_scores_as_the_target_and_the_source_as_itself() -> None:
    pairs = [
        Pair(tone(100, 0.5), tone(200, 0.5), "joe", "one two"),
        Pair(tone(100, 0.5), tone(200, 0.5), "body", "one two three"),
    ]
    judge = ConversionJudge(TonalEars(), pairs)
    perfect = judge.scores([pair.said for pair in pairs])
    assert perfect["to_target"] == pytest.approx(1)
    assert perfect["to_target"] > perfect["to_source"] == perfect["source_to_target"]
    lazy = judge.scores([pair.heard for pair in pairs])
    assert lazy["to_source"] == pytest.approx(1)
    assert lazy["to_target_joe"] == lazy["source_to_target"]
    # "three" is never heard, by anybody.
    assert perfect["wer"] == perfect["wer_source"] == pytest.approx(1 / 5)


def test_pairs_without_a_text_have_no_error_rate() -> None:
    judge = ConversionJudge(TonalEars(), [Pair(tone(100, 0.5), tone(200, 0.5), "x", "")])
    assert "wer" not in judge.scores([tone(200, 0.5)])
