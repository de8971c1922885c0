"""Two pronunciations of a text side by side."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backtalk.train.conversion.timing import matched, phones_of, time_map
from backtalk.train.minitalk.spoken import Sound


def spoken(symbols: str, length_s: float = 0.1) -> list[Sound]:
    return [Sound(s, i * length_s, (i + 1) * length_s) for i, s in enumerate(symbols)]


def test_diphthongs_become_two_and_marks_vanish() -> None:
    assert [one.symbol for one in phones_of(spoken("ˈbOt, "))] == ["b", "o", "ʊ", "t"]


def test_a_letter_that_stands_for_two_sounds_shares_its_time() -> None:
    first, second = phones_of([Sound("A", 1.0, 1.2)])
    np.testing.assert_allclose([first.end_s, second.start_s, second.end_s], [1.1, 1.1, 1.2])


def test_a_sound_that_only_one_of_them_says_is_left_out() -> None:
    pairs = matched(phones_of(spoken("kæts")), phones_of(spoken("kæt")))
    assert pairs == [(0, 0), (1, 1), (2, 2)]


def test_times_are_moved_to_those_of_the_other() -> None:
    found = time_map(spoken("^kæt$", 0.1), spoken(" kæt ", 0.2), 0.5, 1.0)
    assert found is not None
    np.testing.assert_allclose(np.interp([0.1, 0.2, 0.3, 0.5], *found), [0.2, 0.4, 0.6, 1.0])


def test_texts_that_are_said_differently_are_not_put_together() -> None:
    assert time_map(spoken("kæt"), spoken("mʊnlɪ"), 0.3, 0.5) is None
    assert time_map([], spoken("kæt"), 0.3, 0.3) is None


@given(
    st.lists(st.sampled_from("kætsʊ ˈnɪ"), min_size=3, max_size=20),
    st.lists(st.floats(0.001, 0.3), min_size=20, max_size=20),
    st.lists(st.floats(0.001, 0.3), min_size=20, max_size=20),
)
def test_time_never_goes_back(symbols: list[str], ours: list[float], theirs: list[float]) -> None:
    sides = []
    for lengths in (ours, theirs):
        ends = np.cumsum(lengths[: len(symbols)])
        starts = [0.0, *ends[:-1]]
        sounds = [Sound(s, a, b) for s, a, b in zip(symbols, starts, ends, strict=True)]
        sides.append((sounds, float(ends[-1])))
    (first, first_s), (second, second_s) = sides
    found = time_map(first, second, first_s, second_s)
    if found is not None:
        from_s, to_s = found
        assert (np.diff(from_s) > 0).all()
        assert (np.diff(to_s) > 0).all()
        assert (from_s[-1], to_s[-1]) == (first_s, second_s)
