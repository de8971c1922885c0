"""Cuts text that is too long for one synthesis into pieces that are not.

The segmenter already hands over short chunks. This is the bound for everything else: one call of a
synthesiser takes time and memory in proportion to its text (hibari: 0.55 ms and about 0.25 MB a
character on one core), and `cancel` is only looked at between calls.
"""

from __future__ import annotations

import re

PIECE_CHARS = 200
_CLAUSE_END = re.compile(r"[.!?…,;:—][\"”’')\]]*\s")
_SPACE = re.compile(r"\s")


def split_long(text: str, limit_chars: int = PIECE_CHARS) -> list[str]:
    """Cut `text` so that no piece is longer than `limit_chars`, at the best place there is.

    The last clause end within the limit is best, then the last space, then the limit itself.
    Nothing but white space at the cuts is lost; text without a letter or digit gives no piece.

    Args:
        text: any text.
        limit_chars: 1 or more.
    """
    pieces = []
    rest = text.strip()
    while len(rest) > limit_chars:
        cut = _last_cut(rest, limit_chars)
        pieces.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    pieces.append(rest)
    return [piece for piece in pieces if any(char.isalnum() for char in piece)]


def _last_cut(text: str, limit_chars: int) -> int:
    # One character more than the limit: a piece may end just where white space begins.
    window = text[: limit_chars + 1]
    for pattern in (_CLAUSE_END, _SPACE):
        ends = [match.end() for match in pattern.finditer(window)]
        if ends:
            return ends[-1]
    return limit_chars
