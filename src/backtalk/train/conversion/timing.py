"""Which moment of one pronunciation is which of another: two voices' phonemes put side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.train.minitalk.spoken import Sound

_LETTERS = {
    # The alphabet of hibari has one letter for what others write with two.
    **{"A": "eɪ", "I": "aɪ", "W": "aʊ", "Y": "ɔɪ", "O": "oʊ", "Q": "əʊ"},
    **{"ʤ": "dʒ", "ʧ": "tʃ", "ᵊ": "ə", "ᵻ": "ɪ", "T": "ɾ", "ɜ": "ɝ", "ɚ": "əɹ"},
    **{"r": "ɹ", "g": "ɡ"},
}
_MARKS = frozenset("ˈˌːˑ ̩̃ʲˠ^$_|.,;:!?\"'()-—…“”‘’")
_VOWELS = frozenset("aeiouæɑɒɔəɛɜɝɚɪʊʌɐyøœɨʉɵ")
_SAME_KIND, _OTHER_KIND, _LEFT_OUT = 0.6, 1.4, 0.8


def phones_of(sounds: Sequence[Sound]) -> list[Sound]:
    """One letter of the phonetic alphabet each, without spaces, marks and stress."""
    found = []
    for sound in sounds:
        letters = [
            letter
            for symbol in sound.symbol
            for letter in _LETTERS.get(symbol, symbol)
            if letter not in _MARKS
        ]
        for i, letter in enumerate(letters):
            length_s = (sound.end_s - sound.start_s) / len(letters)
            start_s = sound.start_s + i * length_s
            found.append(Sound(letter, start_s, start_s + length_s))
    return found


def matched(first: Sequence[Sound], second: Sequence[Sound]) -> list[tuple[int, int]]:
    """Which phone of one is which of the other: pairs of indices, both rising.

    Dynamic programming over the cheapest way to turn one into the other; vowels stand for vowels
    more easily than for consonants.
    """
    rows, columns = len(first), len(second)
    cost = np.zeros((rows + 1, columns + 1))
    cost[:, 0] = np.arange(rows + 1) * _LEFT_OUT
    cost[0] = np.arange(columns + 1) * _LEFT_OUT
    for i in range(rows):
        for j in range(columns):
            cost[i + 1, j + 1] = min(
                cost[i, j] + _difference(first[i].symbol, second[j].symbol),
                cost[i, j + 1] + _LEFT_OUT,
                cost[i + 1, j] + _LEFT_OUT,
            )
    pairs = []
    i, j = rows, columns
    while i and j:
        change = _difference(first[i - 1].symbol, second[j - 1].symbol)
        if cost[i, j] == cost[i - 1, j - 1] + change:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + _LEFT_OUT:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def time_map(
    spoken: Sequence[Sound], wanted: Sequence[Sound], spoken_s: float, wanted_s: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Times in one pronunciation and the times in the other that they should become.

    Args:
        spoken, wanted: the phonemes of both, of one text.
        spoken_s, wanted_s: how long both are.
    Returns:
        Two rising arrays of seconds, for `np.interp`; None if the two pronounce the text so
        differently that they should not be put together.
    """
    ours, theirs = phones_of(spoken), phones_of(wanted)
    pairs = matched(ours, theirs)
    alike = sum(ours[i].symbol == theirs[j].symbol for i, j in pairs)
    if not pairs or alike < 0.6 * max(len(ours), len(theirs)):
        return None
    from_s, to_s = [0.0], [0.0]
    for number, (i, j) in enumerate(pairs):
        # The end of a phone is the begin of the next, unless a pause lies between them.
        edges = [(ours[i].start_s, theirs[j].start_s)]
        is_last = number + 1 == len(pairs)
        if is_last or theirs[pairs[number + 1][1]].start_s > theirs[j].end_s + 1e-6:
            edges.append((ours[i].end_s, theirs[j].end_s))
        for ours_s, theirs_s in edges:
            if ours_s > from_s[-1] + 1e-3 and theirs_s > to_s[-1] + 1e-3:
                from_s.append(ours_s)
                to_s.append(theirs_s)
    while len(from_s) > 1 and (from_s[-1] >= spoken_s or to_s[-1] >= wanted_s):
        from_s.pop()
        to_s.pop()
    return np.array([*from_s, spoken_s]), np.array([*to_s, wanted_s])


def _difference(first: str, second: str) -> float:
    if first == second:
        return 0.0
    return _SAME_KIND if (first in _VOWELS) == (second in _VOWELS) else _OTHER_KIND
