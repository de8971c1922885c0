"""Numbers in words: integers, decimals, ordinals, years, money, times, ranges, fractions, units."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from backtalk.cascade.speakable_words import CURRENCIES, MAGNITUDE_LETTERS, MAGNITUDES, UNITS

# More digits than this are read one by one: nobody hears "quadrillion" as a number.
_MAX_CARDINAL_DIGITS = 12

_INT = r"\d{1,3}(?:,\d{3}){1,4}|\d{1,20}"
_NUMBER = rf"(?:(?:{_INT})(?:\.\d{{1,20}})?|\.\d{{1,20}})"
_SIGNS = re.escape("".join(CURRENCIES))
_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_MAGNITUDE = "|".join(MAGNITUDES)
# A range takes a hyphen or an en dash, "to" being what is said.
_TO = r"\s?[-\u2013]\s?"
_NO_DIGIT_BEFORE = r"(?<![\d.,])(?<!\d-)"
_ENDS = r"(?!\d|[.,]\d)"
_WORD_ENDS = r"(?![^\W_]|[.,]\d)"
_MERIDIEM = r"\s?([AaPp])\.?\s?[Mm]\b(?:\.(?=\s+[a-z]))?"

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_SMALL_FRACTIONS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


@lru_cache(maxsize=4096)
def _words(value: int, to: str = "cardinal") -> str:
    from num2words import num2words

    return str(num2words(value, to=to)).replace(",", "")


def _digits(text: str) -> str:
    return " ".join(_words(int(digit)) for digit in text if digit.isdigit())


def _integer(text: str) -> str:
    digits = text.replace(",", "")
    if len(digits) > _MAX_CARDINAL_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return _digits(digits)
    return _words(int(digits))


def _number(text: str) -> str:
    whole, point, fraction = text.partition(".")
    if not point:
        return _integer(whole)
    return f"{_integer(whole) if whole else 'zero'} point {_digits(fraction)}"


def _year_or_number(text: str) -> str:
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", text):
        return _words(int(text), "year")
    return _number(text)


def _telephone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    groups = re.findall(r"\d+", match[0])
    return " " + plus + ", ".join(_digits(group) for group in groups) + " "


def _date(match: re.Match[str]) -> str:
    month, day = int(match[2]), int(match[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    year = _year_or_number(match[1])
    return f" {_MONTHS[month - 1]} {_words(day, 'ordinal')} {year} "


def _slashed_date(match: re.Match[str]) -> str:
    return f" {_integer(match[1])} {_integer(match[2])} {_year_or_number(match[3])} "


def _time(match: re.Match[str]) -> str:
    hour, minute, second, half = match[1], match[2], match[3], match[4]
    parts = [_words(int(hour))]
    if int(minute):
        parts += ["oh"] if minute[0] == "0" else []
        parts.append(_words(int(minute)))
    elif not half and not second:
        parts.append("o'clock" if 1 <= int(hour) <= 12 else "hundred")
    if second and int(second):
        parts.append(f"and {_words(int(second))} seconds")
    if half:
        parts.append(f"{half.lower()} m")
    return f" {' '.join(parts)} "


def _hour(match: re.Match[str]) -> str:
    return f" {_words(int(match[1]))} {match[2].lower()} m "


def _money(match: re.Match[str]) -> str:
    sign, amount, letter, word = match[1], match[2], match[3], match[4]
    one, many, cent, cents = CURRENCIES[sign]
    magnitude = MAGNITUDE_LETTERS[letter] if letter else (word or "").lower()
    if magnitude:
        return f" {_number(amount)} {magnitude} {many} "
    whole, _, fraction = amount.partition(".")
    if len(fraction) != 2:
        return f" {_number(amount)} {one if amount == '1' else many} "
    said = []
    if whole.strip("0,") or fraction == "00":
        said.append(f"{_integer(whole or '0')} {one if whole == '1' else many}")
    if fraction != "00":
        said.append(f"{_words(int(fraction))} {cent if fraction == '01' else cents}")
    return f" {' and '.join(said)} "


def _fraction(match: re.Match[str]) -> str:
    over, under = int(match[2]), int(match[3])
    whole = f"{_words(int(match[1]))} and " if match[1] else ""
    unit = f" {UNITS[match[4]][1 if whole else 0]}" if match[4] else ""
    if over == 0 or under < 2 or over >= under or under > 20:
        return f" {whole}{_words(over)} {_words(under)}{unit} "
    one, many = _SMALL_FRACTIONS.get(under) or (
        _words(under, "ordinal"),
        _words(under, "ordinal") + "s",
    )
    top = "a" if whole and over == 1 else _words(over)
    return f" {whole}{top} {one if over == 1 else many}{unit} "


def _range(match: re.Match[str]) -> str:
    sign, low, high, magnitude, unit = match.groups()
    if not (sign or magnitude or unit):
        return f" {_year_or_number(low)} to {_year_or_number(high)} "
    said = [_number(low), "to", _number(high)]
    if magnitude:
        said.append(magnitude)
    if sign:
        said.append(CURRENCIES[sign][1])
    elif unit:
        said.append(UNITS[unit][1])
    return f" {' '.join(said)} "


def _price(match: re.Match[str]) -> str:
    one, many, _, _ = CURRENCIES[match[2]]
    return f" {_number(match[1])} {one if match[1] == '1' else many} "


def _measure(match: re.Match[str]) -> str:
    amount, unit = match[1], match[2]
    one, many = UNITS[unit]
    return f" {_number(amount)} {one if amount == '1' else many} "


def _decade(match: re.Match[str]) -> str:
    text = match[1]
    said = _words(int(text), "year") if len(text) == 4 else _words(int(text))
    said = said[:-1] + "ies" if said.endswith("y") else said + "s"
    return f" {said} "


def _ordinal(match: re.Match[str]) -> str:
    return f" {_words(int(match[1].replace(',', '')), 'ordinal')} "


def _height(match: re.Match[str]) -> str:
    return f" {_words(int(match[1]))} foot {_words(int(match[2]))} "


def _dotted(match: re.Match[str]) -> str:
    return " " + " point ".join(_integer(part) for part in match[0].split(".")) + " "


def _plain(match: re.Match[str]) -> str:
    return f" {_year_or_number(match[0])} "


_Say = Callable[[re.Match[str]], str]

# In order: what is more particular comes first, and what one rule has put in words is out of reach
# of the next. Every repetition is bounded, so that no input takes more than linear time.
_RULES: list[tuple[re.Pattern[str], str | _Say]] = [
    (re.compile(pattern), say)
    for pattern, say in (
        (r"(?<![\w.])(\d{4})-(\d{2})-(\d{2})(?![\w-])", _date),
        (r"(?<![\w/])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\w/])", _slashed_date),
        (
            r"(?<![\w.])(?:\+\d{1,3}[-. ]?)?(?:\(\d{2,4}\) ?|\d{3}[-. ])\d{3}[-. ]\d{3,4}(?!\w)",
            _telephone,
        ),
        (r"(?<![\w.])\d{3}-\d{4}(?![\w-])", _telephone),
        (r"(?<![\w.])\+\d{1,3}(?:[-. ]?\d{2,4}){2,5}(?!\w)", _telephone),
        # Opening hours and the like, while their colons and "pm" are still there to see.
        (rf"(?<=\d)\s?[-\u2013]\s?(?=\d{{1,2}}(?::\d\d|{_MERIDIEM}))", " to "),
        (
            rf"(?<![\d:.,])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?:{_MERIDIEM})?(?![\w:])",
            _time,
        ),
        (rf"(?<![\d:.,/])(1[0-2]|[1-9]){_MERIDIEM}", _hour),
        (r"(?<=\d):(?=\d)", " to "),
        (r"(?<!\w)([3-8])'(1[01]|\d)\"?(?!\w)", _height),
        (rf"(?<![^\s(])[-\u2212](?=[{_SIGNS}]?[.\d])", " minus "),
        (
            rf"{_NO_DIGIT_BEFORE}([{_SIGNS}])?({_NUMBER})[%°]?{_TO}[{_SIGNS}]?({_NUMBER}){_ENDS}"
            rf"(?!-\d)(?:\s({_MAGNITUDE})\b)?(?:\s?({_UNIT}){_WORD_ENDS})?",
            _range,
        ),
        (
            rf"([{_SIGNS}])\s?({_NUMBER}){_ENDS}(?:([kKMB])\b|\s({_MAGNITUDE})\b)?",
            _money,
        ),
        (
            rf"(?<![\w.,/])(?:(\d{{1,3}})\s)?(\d{{1,4}})/(\d{{1,4}})(?![\w/])"
            rf"(?:\s?({_UNIT}){_WORD_ENDS})?",
            _fraction,
        ),
        (rf"{_NO_DIGIT_BEFORE}({_INT})(?:st|nd|rd|th|ST|ND|RD|TH)\b", _ordinal),
        (r"(?<!\w)'?((?:1[1-9]|20)?[1-9]0)'?s\b", _decade),
        (rf"{_NO_DIGIT_BEFORE}({_NUMBER})\s?([{_SIGNS}])", _price),
        (rf"{_NO_DIGIT_BEFORE}({_NUMBER})\s?({_UNIT}){_WORD_ENDS}", _measure),
        (r"(?<=\d)\s?[x×*]\s?(?=\d)", " times "),
        (r"(?<=\d)x\b", " times "),
        (r"(?<![\d.])\d{1,20}(?:\.\d{1,20}){2,8}(?!\d)", _dotted),
        (rf"{_NO_DIGIT_BEFORE}{_NUMBER}", _plain),
        (r"\d{1,20}", _plain),
    )
]


def numbers_in_words(text: str) -> str:
    """Replace every number of an English text by the words a person would say; no digit is left.

    Args:
        text: one chunk; digits of any script must already be 0 to 9.
    """
    if not any(character.isdigit() for character in text):
        return text
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    return text


def warm_up() -> None:
    """Import num2words, which takes 0.15 s, before the first number has to be said."""
    _words(1)
