"""Takes out what only a screen can show: Markdown, HTML, addresses, strange characters."""

from __future__ import annotations

import html
import re
import unicodedata

# More marks than this on one letter are decoration; no living script needs them.
_MAX_MARKS = 4

# Before compatibility normalisation, which would make "TM" and a plain 2 of them.
_BEFORE_NFKC = str.maketrans(
    {
        "\u2122": "",
        "\u00ae": "",
        "\u00a9": "",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u00bc": " 1/4",
        "\u00bd": " 1/2",
        "\u00be": " 3/4",
        "\u2153": " 1/3",
        "\u2154": " 2/3",
        "\u2018": "'",
        "\u2019": "'",
        "\u02bc": "'",
        "\u2032": "'",
        "\u2033": '"',
        "\u201c": '"',
        "\u201d": '"',
        "\u2044": "/",
        "\u2010": "-",
        "\u2011": "-",
        "\u2212": "-",
        "\u2014": " \u2013 ",
        "\u2015": " \u2013 ",
    }
)

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_IMAGE_OR_LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\]\((?:[^()\n]{0,1000})\)")
_REFERENCE = re.compile(r"\[\^?\d{1,3}\]")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>|<!--[^<>]{0,500}-->")
_BULLET = r"[-*+\u2022\u2023\u25e6\u2043\u2013][ \t]{1,4}(?:\[[ xX]\][ \t])?"
_LINE_MARK = re.compile(rf"^[ \t]{{0,20}}(?:#{{1,6}}[ \t]|>[ \t]?|{_BULLET})", re.MULTILINE)
_LIST_NUMBER = re.compile(r"^[ \t]{0,20}(\d{1,3})[.)][ \t]{1,4}(?=\S)", re.MULTILINE)

_URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)[^\s<>()\[\]\"]{1,2000}", re.IGNORECASE)
_MAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}"
)


def without_markup(text: str) -> str:
    """Keep what was emphasised, linked or listed, drop its marks; code blocks go whole."""
    text = _without_strange_characters(text)
    text = _FENCE.sub(" ", text)
    text = html.unescape(text) if "&" in text else text
    text = _IMAGE_OR_LINK.sub(r"\1", text)
    text = _REFERENCE.sub("", text)
    text = _addresses_in_words(text)
    text = _TAG.sub(" ", text)
    text = _LIST_NUMBER.sub(r"\1, ", text)
    text = _LINE_MARK.sub("", text)
    return "\n".join(line for line in text.split("\n") if any(map(str.isalnum, line)))


def _without_strange_characters(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize("NFKC", _plain_characters(text.translate(_BEFORE_NFKC)))
    # Normalisation may put control characters and marks together again.
    return unicodedata.normalize("NFC", _plain_characters(text))


def _plain_characters(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "M":
            marks += 1
            # A mark with no letter under it, and an emoji's variation selector, say nothing.
            if marks > _MAX_MARKS or not kept or not (marks > 1 or kept[-1].isalpha()):
                marks = _MAX_MARKS
                continue
            if "\ufe00" <= character <= "\ufe0f" or category == "Me":
                continue
            kept.append(character)
            continue
        marks = 0
        if character in "\n\u2028\u2029\x0b\x0c\x85":
            kept.append("\n")
        elif character == "\r":
            continue
        elif category[0] == "Z" or character == "\t":
            kept.append(" ")
        elif category == "Nd":
            kept.append(str(unicodedata.digit(character)))
        elif category[0] == "C":
            continue
        else:
            kept.append(character)
    return "".join(kept)


def _addresses_in_words(text: str) -> str:
    text = _MAIL.sub(lambda match: _dotted(match[0]).replace("@", " at "), text)
    return _URL.sub(_url_in_words, text)


def _url_in_words(match: re.Match[str]) -> str:
    address = match[0]
    trailing = address[len(address.rstrip(".,!?;:'*_")) :]
    host = re.sub(r"(?i)^(?:[a-z]+://)?", "", address)
    host = re.split(r"[/?#\\]", host, maxsplit=1)[0].rsplit("@", 1)[-1].split(":", 1)[0]
    host = re.sub(r"(?i)^www\.", "", host).rstrip(".,!?;:'*_")
    return f" {_dotted(host)}{trailing} " if any(map(str.isalnum, host)) else " "


def _dotted(name: str) -> str:
    return name.replace(".", " dot ").replace("-", " ").replace("_", " ")
