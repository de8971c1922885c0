"""Speakable text: what is written but not said becomes words or goes, and that only once."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.cascade.speakable import speakable

FRAGMENT_TEXT = (
    "$5 -5 3:45pm p.m. Dr. St. e.g. U.S. etc. 1/2 1st 1990s 5-10% 20°C km/h 5 kg . , ... — - A. B."
    " a.com www.a.b http://x.y/z x@y.zz C++ HTML 's No. 5 #5 ~5 ^2 ** ` | [a](b) <b> vs w/o Next"
    " next -> 2+2=4 & % $ ½ ² ™ 👍🏽 \u200d é \u0301 \u202e 好 。 ١ ① ㎏ \ud800"
)
FRAGMENTS = FRAGMENT_TEXT.split()
TEXTS = st.one_of(
    st.text(),
    st.text(st.characters()),
    st.text(
        " .,-/:%$€°+=*_`#[]()<>^~&@'\"0123456789aemkpsABCHLM\n—–…²½👍\u0301\u200d", max_size=40
    ),
    st.lists(st.sampled_from([*FRAGMENTS, " ", "\n"]), max_size=12).map("".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(" ".join),
)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_any_text_gives_only_letters_and_punctuation_and_a_fixed_point(text):
    spoken = speakable(text)
    assert speakable(spoken) == spoken
    assert not any(
        character.isdigit() or character in '*_`#[]()<>|~^\\/$%&@+="' for character in spoken
    )
    assert spoken == " ".join(spoken.split())
    assert spoken.isprintable()
    assert not spoken or any(map(str.isalpha, spoken))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hello there, how are you?", "Hello there, how are you?"),
        # Markdown
        ("**Bold** and *it* and __x__ `code`.", "Bold and it and x code."),
        ("half of **a bold run", "half of a bold run"),
        ("# Heading", "Heading"),
        ("- item one", "item one"),
        ("- [ ] buy milk", "buy milk"),
        ("1. Preheat the oven", "one, Preheat the oven"),
        ("See [the docs](http://a.com/b) now [1].", "See the docs now."),
        ("![a cat](cat.png) here", "a cat here"),
        ("> quoted\n> lines", "quoted, lines"),
        ("```python\nprint(1)\n``` done", "done"),
        ("| a | b |\n|---|---|\n| c | d |", "a, b, c, d,"),
        ("Title\n=====\ntext", "Title, text"),
        ("a <b>bold</b> &amp; x", "a bold and x"),
        # Pictures and strange characters
        ("Hi 👍🏽 there 🇫🇷 ❤️", "Hi there"),
        ("1️⃣ first", "one first"),
        ("zero\u200bwidth\u202e and\u00a0odd\tspaces\u0000", "zerowidth and odd spaces"),
        ("𝐁𝐨𝐥𝐝 ﬁne ｆｕｌｌ", "Bold fine full"),
        ("a" + "\u0301" * 50 + "b", "á\u0301\u0301\u0301b"),
        ("مرحبا كيف", "مرحبا كيف"),
        ("你好，世界。", "你好, 世界。"),
        # Addresses
        ("user@example.com", "user at example dot com"),
        ("at https://www.example.com/path?q=1#x. Then", "at example dot com. Then"),
        ("example.org and main.py", "example dot org and main dot py"),
        # Symbols
        ("R&B, C++, 2+2=4", "R and B, C plus plus, two plus two equals four"),
        ("he/she and/or them", "he or she and or them"),
        ("A → B, 1 -> 2", "A to B, one to two"),
        ("x^2, x², 2^8", "x squared, x squared, two to the power of eight"),
        ("#1 and #tag, @bob", "number one and tag, at bob"),
        ("~5 items, 5 < 6", "about five items, five is less than six"),
        ("word—word – and - dash (aside) \"quoted\"", "word, word, and, dash, aside, quoted"),
        ("Great!!! Really?! Wait... what… ok", "Great! Really? Wait, what, ok"),
        ("don't ‘stop’ dogs'", "don't stop dogs"),
        # Numbers
        ("0, 7, 21, 105", "zero, seven, twenty-one, one hundred and five"),
        ("2,000 people in 1999", "two thousand people in nineteen ninety-nine"),
        ("in 2005 or 2024", "in two thousand and five or twenty twenty-four"),
        ("3.14 or .5", "three point one four or zero point five"),
        ("the 1st, 22nd, 3rd", "the first, twenty-second, third"),
        ("the 1990s and '80s", "the nineteen nineties and eighties"),
        (
            "$5, $3.50, £1, $0.05",
            "five dollars, three dollars and fifty cents, one pound, five cents",
        ),
        ("€2.5 million, $10k", "two point five million euros, ten thousand dollars"),
        ("5€, $20-$30", "five euros, twenty to thirty dollars"),
        ("$3-5 million", "three to five million dollars"),
        (
            "3:45pm, 3:00, 10:05 a.m. today",
            "three forty-five p m, three o'clock, ten oh five a m today",
        ),
        ("9-5pm or 3:00-5:00pm", "nine to five p m or three o'clock to five p m"),
        ("3-5 apples, 10–20%", "three to five apples, ten to twenty percent"),
        ("555-123-4567", "five five five, one two three, four five six seven"),
        ("0123456789", "zero one two three four five six seven eight nine"),
        (
            "1/2 cup, 3/4, 2 1/2 kg, 1½",
            "one half cup, three quarters, two and a half kilograms, one and a half",
        ),
        ("open 24/7", "open twenty-four seven"),
        ("50% off, -5°C, −3", "fifty percent off, minus five degrees Celsius, minus three"),
        (
            "100 km/h, 1 kg, 5m², 20 °C",
            "one hundred kilometers per hour, one kilogram,"
            " five square meters, twenty degrees Celsius",
        ),
        ("COVID-19, H2O, a 10-year-old", "COVID nineteen, H two O, a ten year-old"),
        ("version 3.11.2", "version three point eleven point two"),
        ("on 2024-05-17", "on May seventeenth twenty twenty-four"),
        ("3x5, 3x faster", "three times five, three times faster"),
        ("١٢٣ and ①", "one hundred and twenty-three and one"),
        # Abbreviations
        ("Dr. Smith vs. Mr. J. R. Doe", "Doctor Smith versus Mister J R Doe"),
        (
            "e.g. cats, i.e. pets, etc. That is all.",
            "for example cats, that is pets, et cetera. That is all.",
        ),
        ("on Main St. near St. Ives", "on Main Street near Saint Ives"),
        ("in the U.S. at 3 p.m.", "in the U S at three p m."),
        ("No. 5; No. I won't.", "number five; No. I won't."),
        ("HTML, PDFs, NASA, TV", "H T M L, P D Fs, NASA, T V"),
        ("w/ cheese, w/o sugar", "with cheese, without sugar"),
        # Nothing to say
        ("", ""),
        ("*** --- 👍 % $", ""),
    ],
)  # fmt: skip
def test_text_is_written_as_it_is_said(text, spoken):
    assert speakable(text) == spoken


@pytest.mark.parametrize(
    "unit",
    [*"a1*[( ", "1,", "1-", "[a](", "<a", "A. ", "http://", "a@", "$1", "\u0301"],
)  # fmt: skip
def test_time_grows_no_faster_than_the_text(unit):
    def cost_s(length: int) -> float:
        text = unit * (length // len(unit))
        start = time.process_time()
        speakable(text)
        return time.process_time() - start

    speakable("1")
    short = min(cost_s(2_000) for _ in range(3))
    # Quadratic time would be 64 times as much.
    assert min(cost_s(16_000) for _ in range(2)) < 24 * max(short, 0.0005)
