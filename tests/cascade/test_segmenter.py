"""The clause segmenter: early first chunks, whole words, nothing lost, any push schedule."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.cascade.segmenter import ClauseSegmenter, build_clause_segmenter
from backtalk.errors import ConfigError

PIECES = (
    *("I", "think", "the", "Paris", "well", "maybe", "Yes", "No", "3", "3.5", "2,000", "$5"),
    *("5 km", "Dr. Smith", "e.g.", "U.S.", "p.m.", "St. Ives", "1.", "- ", "**bold**", "`code`"),
    *("[a link here](http://a.b/c)", "```\nx = 1.\n```", "👍", "é\u0301", "你好", "。", "、", "…"),
    *(
        " ",
        " ",
        " ",
        "\n",
        "\n\n",
        ". ",
        ", ",
        "! ",
        "? ",
        ": ",
        "; ",
        " - ",
        " — ",
        "—",
        ".",
        "``",
    ),
)
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join),
    st.text(max_size=300),
    st.text(alphabet="ab .,!?\n-[]`*好。", max_size=400),
)


def chunks_of(text: str, **options: int) -> list[str]:
    segmenter = ClauseSegmenter(**options)
    return segmenter.push(text) + segmenter.flush()


def solid(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, data=st.data())
def test_any_push_schedule_gives_the_same_chunks_at_the_same_characters(text, data):
    one_by_one = ClauseSegmenter(max_chars=30)
    by_character = [one_by_one.push(character) for character in text]
    pieces = ClauseSegmenter(max_chars=30)
    position = 0
    while position < len(text):
        size = data.draw(st.integers(1, 20))
        expected = sum(by_character[position : position + size], [])
        assert pieces.push(text[position : position + size]) == expected
        position += size
    assert pieces.flush() == one_by_one.flush()


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_no_letter_or_digit_is_lost_or_moved(text):
    chunks = chunks_of(text, max_chars=30)
    outside_code = re.sub(r"```.*?(```+|\Z)", "\n", text, flags=re.DOTALL)
    if "````" not in text:
        wanted = [character for character in outside_code if character.isalnum()]
        assert [character for character in "".join(chunks) if character.isalnum()] == wanted
    assert all(any(map(str.isalnum, chunk)) and chunk == chunk.strip() for chunk in chunks)


@settings(max_examples=200, deadline=None)
@given(words=st.lists(st.text("abcXYZ.,!?;:-'", min_size=1, max_size=12), max_size=60))
def test_chunks_joined_are_the_text_and_no_word_is_cut(words):
    words = [word for word in words if any(map(str.isalpha, word))]
    chunks = chunks_of(" ".join(words), max_chars=40)
    assert " ".join(chunks).split() == words


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        (
            "The capital of France is Paris, which lies on the Seine. It is big and old. Go there.",
            ["The capital of France is Paris,", "which lies on the Seine.", "It is big and old."]
            + ["Go there."],
        ),
        ("Yes. I think that is right.", ["Yes.", "I think that is right."]),
        ("Well, maybe I could, but not today.", ["Well, maybe I could,", "but not today."]),
        (
            "I would say that people live there all year round without any trouble.",
            ["I would say that people live there all", "year round without any trouble."],
        ),
        (
            "It really is the best known of the many old towns there.",
            ["It really is the best known of the many", "old towns there."],
        ),
        ("Dr. Smith is in. He waits.", ["Dr. Smith is in.", "He waits."]),
        ("Pi is 3.14 in the U.S. too. Right?", ["Pi is 3.14 in the U.S. too.", "Right?"]),
        ("He said “Yes.” Then he left.", ["He said “Yes.”", "Then he left."]),
        (
            "So. It is fine. Yes. No. Maybe later on.",
            ["So.", "It is fine.", "Yes. No. Maybe later on."],
        ),
        ("1. Mix the eggs.\n2. Bake.\n", ["1. Mix the eggs.", "2. Bake."]),
        ("- one\n- two\n- three four five\n", ["- one", "- two\n- three four five"]),
        ("👍 Great! 😀 What about you? ...", ["👍 Great!", "😀 What about you?"]),
        ("今日は天気がいいです。散歩しましょう。", ["今日は天気がいいです。", "散歩しましょう。"]),
        ("Run this:\n```sh\nls. Now.\n```\nDone with that.", ["Run this:", "Done with that."]),
        ("Wait… I see what you mean", ["Wait… I see what you mean"]),
        ("No problem—I can do that, sure.", ["No problem—I can do that,", "sure."]),
        ("", []),
        ("*** --- 👍", []),
    ],
)
def test_reply_is_cut_where_a_speaker_would_breathe(text, chunks):
    assert chunks_of(text) == chunks


def test_first_chunk_leaves_with_the_space_after_it_and_not_before():
    segmenter = ClauseSegmenter()
    assert segmenter.push("Paris") == []
    assert segmenter.push(".") == []
    assert segmenter.push(" ") == ["Paris."]


def test_forced_first_cut_waits_for_the_word_to_be_whole():
    segmenter = ClauseSegmenter()
    assert segmenter.push("one two three four five six seven eigh") == []
    assert segmenter.push("t ") == []
    assert segmenter.push("n") == ["one two three four five six seven eight"]


@pytest.mark.parametrize(
    "text",
    [
        "it is said to be no more than 5 km away",
        "we all think that it costs them around $3 million",
        "they told us all to go and see Dr. Smith",
        "people say one plus two and then that = 3",
        "read all [about the many old towns of the land](http://x.y) now",
    ],
)
def test_forced_cut_does_not_part_what_is_said_together(text):
    for together in ("5 km", "$3 million", "Dr. Smith", "that = 3", "[about the many old towns"):
        if together in text:
            assert any(together in chunk for chunk in chunks_of(text))


def test_long_sentence_is_cut_at_its_last_clause():
    text = "First of all, this goes on for quite a while, and then it goes on some more, and on."
    assert chunks_of("Now. " + text, max_chars=50) == [
        "Now.",
        "First of all, this goes on for quite a while,",
        "and then it goes on some more, and on.",
    ]


def test_text_without_spaces_is_cut_at_characters_and_never_within_one():
    text = "かが\u3099" * 200
    chunks = chunks_of(text)
    assert "".join(chunks) == text
    assert all(len(chunk) <= 121 and chunk[0] != "\u3099" for chunk in chunks)


def test_memory_is_bounded_whatever_comes():
    for flood in ("a", "-", "👍", "\u0301", "(", "[", "`", "1", " ", "。", "a "):
        segmenter = ClauseSegmenter()
        for _ in range(200):
            segmenter.push(flood * 50)
            assert len(segmenter._pending) <= 1000


def test_segmenter_is_as_new_after_a_flush():
    segmenter = ClauseSegmenter()
    segmenter.push("Well, that [was")
    segmenter.flush()
    assert segmenter.push("Yes. ") == ["Yes."]


def test_wrong_options_are_refused_in_one_line():
    with pytest.raises(ConfigError, match="max_chars"):
        build_clause_segmenter(max_chars=1)
    with pytest.raises(ConfigError, match="first_min_words"):
        build_clause_segmenter(words=3)
    assert build_clause_segmenter(None, max_chars=80).push("Hi. ") == ["Hi."]
