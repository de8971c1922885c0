"""Text as a language model writes it -> text as a person would say it, for any synthesiser."""

from __future__ import annotations

import re
import unicodedata

from backtalk.cascade import speakable_numbers
from backtalk.cascade.speakable_markup import without_markup
from backtalk.cascade.speakable_words import (
    COMMON_ABBREVIATIONS,
    PROPER_ABBREVIATIONS,
    SYMBOLS,
    TITLES,
    UNITS,
    UNSPELLED_CAPITALS,
)

# One removal can bring two marks together that mean something; each pass leaves less to find.
_MAX_PASSES = 6


def speakable(text: str) -> str:
    """Make one chunk of text fit to be spoken.

    Markdown, emoji, addresses and symbols go or become words, numbers are read the American way
    ("twenty twenty-five", "three point five kilograms"), abbreviations are spelled out. Letters of
    all scripts stay. What comes out holds only letters, their marks, spaces and `. , ! ? ; : ' -`
    (and the punctuation of Chinese and Japanese); it is a fixed point: doing it again changes
    nothing. Takes time linear in the length, and no text makes it fail.

    Args:
        text: a whole chunk of the segmenter, which does not cut within a number or a link.

    Returns:
        The text, empty if there is nothing to say.
    """
    for _ in range(_MAX_PASSES):
        spoken = _one_pass(text)
        if spoken == text:
            break
        text = spoken
    return text


def warm_up() -> None:
    """Load what the first number would have to wait for (0.15 s)."""
    speakable_numbers.warm_up()


def _one_pass(text: str) -> str:
    text = without_markup(text)
    if not any(map(str.isalnum, text)):
        return ""
    text = _abbreviations_in_words(text)
    text = _HASH.sub(" number ", text)
    text = _ABOUT.sub(" about ", text)
    text = speakable_numbers.numbers_in_words(text)
    text = _symbols_in_words(text)
    text = _CAPITALS.sub(_spelled, text)
    return _tidied(text)


_TITLE = re.compile(rf"(?<![\w.])({'|'.join(TITLES)})\.\s{{1,4}}(?=[A-Z])")
_BARE_TITLE = re.compile(r"(?<![\w.])(Dr|Mr|Mrs)(?=\s[A-Z])")
_STREET = re.compile(r"(?<=[a-z]\s)(St|Dr)\.(?=\s*(?:\Z|,|[a-z]))")
_PROPER = re.compile(rf"(?<![\w.])({'|'.join(PROPER_ABBREVIATIONS)})\.(\s*\Z)?")
_COMMON = re.compile(
    rf"(?<![\w.])((?i:{'|'.join(map(re.escape, COMMON_ABBREVIATIONS))}))\.(?!\w)"
    r"(\s*\Z|(?=\s+[A-Z]))?"
)
_VERSUS = re.compile(r"(?<![\w.])(?:vs|VS)(?![\w.])")
_WITH = re.compile(r"(?<!\S)w/(o)?(?=\s|\w)")
_NUMBER_SIGN = re.compile(r"(?<!\w)[Nn]o\.\s?(?=\d)")
_ACRONYM = re.compile(r"(?<![\w.])((?:[^\W\d_]\.){2,10}[^\W\d_]?)(?!\w)(\s*\Z)?")
_INITIALS = re.compile(r"(\A|\b[A-Z][a-z]{1,40}\s)((?:[A-Z]\.\s{1,4}){1,4})(?=[A-Z][a-z])")
_NAME_DOT = re.compile(r"(?<=[a-z])\.(?=[a-z])")

_HASH = re.compile(r"#\s?(?=\d)")
_ABOUT = re.compile(r"(?<!\S)~\s?(?=[.\d$])")


_MAY_END_A_SENTENCE = frozenset({"etc", "a.m", "p.m", "ph.d"})


def _abbreviations_in_words(text: str) -> str:
    text = _NUMBER_SIGN.sub("number ", text)
    text = _STREET.sub(lambda match: "Street" if match[1] == "St" else "Drive", text)
    text = _TITLE.sub(lambda match: TITLES[match[1]] + " ", text)
    text = _BARE_TITLE.sub(lambda match: TITLES[match[1]], text)
    text = _PROPER.sub(lambda match: PROPER_ABBREVIATIONS[match[1]] + _final_stop(match[2]), text)
    text = _COMMON.sub(_common_in_words, text)
    text = _VERSUS.sub("versus", text)
    text = _WITH.sub(lambda match: "without " if match[1] else "with ", text)
    text = _ACRONYM.sub(
        lambda match: " ".join(match[1].replace(".", "")) + _final_stop(match[2]), text
    )
    text = _INITIALS.sub(lambda match: match[1] + match[2].replace(".", ""), text)
    return _NAME_DOT.sub(" dot ", text)


def _common_in_words(match: re.Match[str]) -> str:
    short = match[1].lower()
    return COMMON_ABBREVIATIONS[short] + (
        _final_stop(match[2]) if short in _MAY_END_A_SENTENCE else ""
    )


def _final_stop(end: str | None) -> str:
    """An abbreviation's stop was the sentence's as well."""
    return "" if end is None else "." + end


_SPACES = re.compile(r"[ \t]+")
_ARROWS = re.compile(r"<?[-=]{1,3}>|[\u2190-\u21ff\u27f0-\u27ff\u2794\u279c]")
_COMPARED = (
    (re.compile(r"<="), "\u2264"),
    (re.compile(r">="), "\u2265"),
    (re.compile(r"!="), "\u2260"),
    (re.compile(r"(?<=\w)\s?<\s(?=\w)"), " is less than "),
    (re.compile(r"(?<=\w)\s?>\s(?=\w)"), " is greater than "),
)
_POWERS = (
    (re.compile(r"\^two\b|\^ two\b"), " squared"),
    (re.compile(r"\^three\b|\^ three\b"), " cubed"),
    (re.compile(r"(?<=\w)\s?\^\s?(?=\w)"), " to the power of "),
)
# A rule drawn with signs, as under a heading.
_RULE = re.compile(r"([-=+~_*#^%&@$|/\\<>])\1{2,}")
_SLASHED_UNIT = re.compile(r"(?<![\w/])(km/h|m/s)(?![\w/])")
_EITHER = re.compile(r"(?<=[a-z])\s?/\s?(?=[a-z])")
_ELLIPSIS = re.compile(r"\s?\.(?:\s?\.){1,100}|\u2026+")
_SYMBOL = re.compile("|".join(map(re.escape, SYMBOLS)))
_SPACED_DASH = re.compile(r"\s[-\u2013]{1,3}\s|--|\s?\u2013\s?")
_OPEN = re.compile(r"(?<=\w)\((s|es)\)")
_CAPITALS = re.compile(r"(?<![\w'])([B-DF-HJ-NP-TV-XZ]{2,5})(s?)(?![\w'])")


def _symbols_in_words(text: str) -> str:
    text = _SPACES.sub(" ", text)
    text = _ARROWS.sub(" to ", text)
    for pattern, said in (*_COMPARED, *_POWERS):
        text = pattern.sub(said, text)
    text = _RULE.sub(" ", text)
    text = _SLASHED_UNIT.sub(lambda match: UNITS[match[1]][1], text)
    text = text.replace("and/or", "and or")
    text = _EITHER.sub(" or ", text)
    text = _ELLIPSIS.sub("\u2026", text)
    text = re.sub(r"\u2026\s*(?=[a-z])", ", ", text).replace("\u2026", ". ")
    text = _SYMBOL.sub(lambda match: f" {SYMBOLS[match[0]]} ", text)
    text = _SPACED_DASH.sub(", ", text)
    text = _OPEN.sub(r"\1", text)
    return text


def _spelled(match: re.Match[str]) -> str:
    if match[1] in UNSPELLED_CAPITALS:
        return match[0]
    return " ".join(match[1]) + match[2]


# Signs within a word that leave no gap, and those that do.
_NO_GAP = re.compile(r"[*`]|~~")
_PAUSE = re.compile(r"[|(\[{)\]}]")
_BETWEEN_LETTERS = re.compile(r"(?<![^\W\d_])['-]|['-](?![^\W\d_])")
_PUNCTUATION_RUN = re.compile(r" ?[.,!?;:](?: ?[.,!?;:])* ?")
_STRONGEST = "?!.;:,"
_NOT_ASCII_SPEECH = re.compile(r"[^A-Za-z .,!?;:'-]")
_CJK_MARKS = "\u3001\u3002\u300c\u300d\u300e\u300f\u30fb"


def _tidied(text: str) -> str:
    text = _NO_GAP.sub("", text)
    text = _PAUSE.sub(", ", text.replace("\n", ", "))
    text = _only_speech(text)
    text = _BETWEEN_LETTERS.sub(" ", text)
    text = _PUNCTUATION_RUN.sub(_strongest_mark, " ".join(text.split()))
    return text.lstrip(".,!?;: ").rstrip()


def _only_speech(text: str) -> str:
    if text.isascii():
        return _NOT_ASCII_SPEECH.sub(" ", text)
    return "".join(
        character
        if character.isalpha()
        or character in " .,!?;:'-"
        or character in _CJK_MARKS
        or unicodedata.category(character)[0] == "M"
        else " "
        for character in text
    )


def _strongest_mark(match: re.Match[str]) -> str:
    return next(mark for mark in _STRONGEST if mark in match[0]) + " "
