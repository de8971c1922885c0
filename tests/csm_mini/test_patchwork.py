"""Patchwork: words of several sentences, each still with its own sound."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backtalk.train.minitalk.spoken import Word  # noqa: E402
from backtalk.train.spoken_codes import SpokenCodes, word_frames  # noqa: E402
from backtalk.train.spoken_sequences import patchwork  # noqa: E402
from csm_mini.small_csm import TOKENS  # noqa: E402

TEXTS = ("one two three.", "four five.", "six", "never parted words here")
WORDS = ((0, 2, 3, 6), (0, 1, 4), (0, 2), (0, 5))


@pytest.fixture
def spoken() -> SpokenCodes:
    """Every frame's first code is the number of its sentence, its second that of the frame."""
    lengths = [each[-1] for each in WORDS]
    codes = [[(number, frame) for frame in range(n)] for number, n in enumerate(lengths)]
    starts = np.cumsum([0, *lengths])
    return SpokenCodes(
        TEXTS, np.array(sum(codes, []), np.int16), starts, WORDS, "made up", frame_rate=12.5
    )


def words_and_frames() -> dict[str, list[tuple[int, int]]]:
    """What each word of the sentences sounds like."""
    found = {}
    for number, (text, begins) in enumerate(zip(TEXTS, WORDS, strict=True)):
        words = text.strip(".").split() if len(begins) > 2 else [text]
        for word, begin, end in zip(words, begins[:-1], begins[1:], strict=True):
            found[word] = [(number, frame) for frame in range(begin, end)]
    return found


def test_every_word_keeps_its_sound_and_the_end_is_marked(spoken: SpokenCodes) -> None:
    sounds = words_and_frames()
    names = {tuple(TOKENS.encode(word)[1:-1]): word for word in sounds}
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(100):
        frames, is_sound = patchwork(spoken, TOKENS, 192, random)
        ids = frames[~is_sound, -1].tolist()
        heard = [tuple(frame) for frame in frames[is_sound, :2].tolist()]
        assert heard[-1] == (0, 0)  # the frame that ends a segment
        text = ids[len(TOKENS.encode("[0]")) - 1 : -1]
        dot, space = TOKENS.encode(".")[1], TOKENS.encode(" ")[1]
        assert text[-1] == dot
        expected: list[tuple[int, int]] = []
        rest = text[:-1]
        while rest:
            word = max((w for w in names if tuple(rest[: len(w)]) == w), key=len)
            expected += sounds[names[word]]
            seen.add(names[word])
            rest = rest[len(word) :]
            rest = rest[1:] if rest[:1] == [space] else rest
        assert heard[:-1] == expected
    assert seen == set(sounds)


def test_it_fits_into_a_sequence(spoken: SpokenCodes) -> None:
    random = np.random.default_rng(0)
    lengths = [len(patchwork(spoken, TOKENS, 48, random)[0]) for _ in range(200)]
    assert max(lengths) <= 48
    assert len(set(lengths)) > 5


def test_words_begin_half_way_after_the_one_before() -> None:
    times = (Word("one", 0.04, 0.30), Word("two", 0.38, 0.60))
    assert word_frames("One, two.", times, 9, 12.5) == (0, 4, 9)
    assert word_frames("One two three.", times, 9, 12.5) == (0, 9)  # not all words have times
