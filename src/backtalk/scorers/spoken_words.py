"""One way to write what was said, so that what a recogniser heard can be compared with a text."""

from __future__ import annotations

import re

from num2words import num2words

_SIGNS = {"+": " plus ", "=": " is ", "×": " times ", "÷": " divided by ", "*": " times "}
_MINUS = re.compile(r"(?<=\d)\s*[-−–]\s*(?=\d)|[−–](?=\d)|(?<=\s)-(?=\s*\d)")
_TIMES = re.compile(r"(?<=\d)\s*[xX]\s*(?=\d)")
_SPELT = re.compile(r"\b[A-Z]{2,}\b")
_WRITTEN_OTHERWISE = {
    "grey": "gray",
    "colour": "color",
    "ok": "okay",
    "sofie": "sophie",
    "viktor": "victor",
    "equals": "is",
}
NUMBER_WORDS = frozenset(
    [num2words(n) for n in range(20)]
    + [num2words(n) for n in range(20, 100, 10)]
    + ["hundred", "thousand", "million"]
)


def spoken_words(text: str) -> list[str]:
    """The words of a text as they are said: lower case, numbers in words, letters one by one.

    `7 + 12 = 19` becomes `seven plus twelve is nineteen`; a word in capitals is taken to be
    spelt out, as Whisper writes it (`APPLE` becomes `a p p l e`).
    """
    text = _SPELT.sub(lambda spelt: " ".join(spelt.group()), text)
    text = _MINUS.sub(" minus ", _TIMES.sub(" times ", text))
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"\d{1,15}", lambda digits: f" {num2words(int(digits.group()))} ", text.lower())
    words = re.findall(r"[a-z']+", text.replace("’", "'"))
    bare = (word.strip("'") for word in words)
    return [_WRITTEN_OTHERWISE.get(word, word) for word in bare if word]
