from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.cascade.speech_pieces import split_long


def test_short_text_stays_whole() -> None:
    assert split_long(" Rain falls, and then stops. ") == ["Rain falls, and then stops."]


def test_long_text_is_cut_after_the_last_clause_that_fits() -> None:
    text = "Rain falls, the sun shines, and a rainbow stands over the hill"

    assert split_long(text, 30) == [
        "Rain falls, the sun shines,",
        "and a rainbow stands over the",
        "hill",
    ]


def test_a_closing_quote_stays_with_its_clause() -> None:
    assert split_long('He said "go," and then he went', 14) == [
        'He said "go,"',
        "and then he",
        "went",
    ]


def test_a_word_longer_than_the_limit_is_cut_at_the_limit() -> None:
    assert split_long("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]


@pytest.mark.parametrize("text", ["", "   \n", "!!!", "… — …", "\U0001f600", "- * -"])
def test_text_without_a_letter_or_digit_gives_no_piece(text: str) -> None:
    assert split_long(text) == []


@given(
    st.text(alphabet=string.ascii_letters + " ,.;\n\t", max_size=300),
    st.integers(1, 60),
)
def test_no_letter_is_lost_and_no_piece_is_too_long(text: str, limit_chars: int) -> None:
    pieces = split_long(text, limit_chars)

    assert all(len(piece) <= limit_chars for piece in pieces)
    letters = [char for char in text if char.isalpha()]
    assert [char for piece in pieces for char in piece if char.isalpha()] == letters
