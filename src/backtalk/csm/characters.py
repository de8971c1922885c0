"""The text tokenizer of a miniature: a character is an id, and that is all.

Llama's tokens are made for a text model that knows a language. A miniature learns from a few
thousand sentences how letters sound, and a token that it has met twice it cannot say. Characters
come at about the rate of frames (15 and 12.5 a second), so that reading on by one is nearly always
right; capitals sound like small letters and are not told apart.
"""

from __future__ import annotations

import unicodedata

from backtalk.errors import ModelError

CHARACTERS = " abcdefghijklmnopqrstuvwxyz0123456789.,!?'-:;[]"
BEGIN, END = 0, 1
_MARKS = 2


class CharacterTokenizer:
    """Text to ids, the begin and end of text around them.

    Args:
        characters: each is one id; what is none of them is not read.
    Raises:
        ModelError: one stands there twice.
    """

    def __init__(self, characters: str = CHARACTERS) -> None:
        if len(set(characters)) != len(characters):
            raise ModelError(f"the characters {characters!r} are not all different")
        self._ids = {character: _MARKS + at for at, character in enumerate(characters)}

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return _MARKS + len(self._ids)

    def encode(self, text: str) -> list[int]:
        """Ids of a text between begin and end of text; accents are left out."""
        bare = unicodedata.normalize("NFKD", text).lower()
        return [BEGIN, *(self._ids[c] for c in bare if c in self._ids), END]
