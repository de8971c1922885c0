"""What counts as the right answer, whichever way a recogniser writes it."""

from __future__ import annotations

from random import Random

import pytest

from backtalk.eval.answers import is_right
from backtalk.scorers.spoken_words import spoken_words
from backtalk.train.minitalk.grammar import draw_dialogue


@pytest.mark.parametrize(
    ("heard", "key"),
    [
        ("Seven plus twelve is nineteen.", "nineteen"),
        ("7 plus 12 is 19", "nineteen"),
        ("7 + 12 = 19.", "nineteen"),
        ("It's nineteen!", "nineteen"),
        ("Nineteen.", "nineteen"),
        ("25 minus 4 is 21", "twenty one"),
        ("Twenty-five minus four is twenty-one.", "twenty one"),
        ("The capital of France is Paris, a large city.", "paris"),
        ("An elephant is grey.", "gray"),
        ("Apple is spelled A, P, P, L, E.", "a p p l e"),
        ("Apple is spelled A-P-P-L-E.", "a p p l e"),
        ("Apple is spelled APPLE.", "a p p l e"),
        ("Hello Emma, nice to meet you.", "emma"),
        ("Ten times ten is one hundred.", "one hundred"),
        ("10 x 10 = 100", "one hundred"),
        ("The small dog sees the big cat!", "the small dog sees the big cat"),
    ],
)
def test_right_answers_count_however_they_are_written(heard: str, key: str) -> None:
    assert is_right(heard, key)


@pytest.mark.parametrize(
    ("heard", "key"),
    [
        ("", "nineteen"),
        ("I do not know.", "nineteen"),
        ("Two plus zero is seven.", "two"),  # only repeats the question
        ("Ten plus ten is twenty two.", "two"),  # part of another number
        ("Ten plus ten is twenty two.", "twenty"),
        ("It is one hundred and nineteen.", "one hundred and"),
        ("The capital of France is London.", "paris"),
        ("The day after Monday is Wednesday.", "monday"),
        ("Apple is spelled apple.", "a p p l e"),
        ("Apple is spelled A, P, L, E.", "a p p l e"),
        ("The big dog sees the small cat.", "the small dog sees the big cat"),
    ],
)
def test_wrong_answers_do_not_count(heard: str, key: str) -> None:
    assert not is_right(heard, key)


def test_every_answer_of_the_grammar_is_right_and_that_to_another_question_is_not() -> None:
    turns = [t for seed in range(1000) for t in draw_dialogue(Random(seed), "joe").turns]
    assert all(is_right(turn.answer, turn.key) for turn in turns)
    others = [
        is_right(b.answer, a.key) for a, b in zip(turns, turns[1:], strict=False) if a.key != b.key
    ]
    assert sum(others) / len(others) < 0.02


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3 o'clock.", "it's three o'clock"),
        ("1,200 dogs", "one thousand two hundred dogs"),
        ("5 - 3 = 2", "five minus three is two"),
        ("−4", "minus four"),
        ("'Tis “well”", "tis well"),
        ("...", ""),
        ("Colour", "color"),
    ],
)
def test_texts_become_the_words_that_are_said(text: str, words: str) -> None:
    heard = " ".join(spoken_words(text)).replace(" and ", " ")
    assert heard == words
