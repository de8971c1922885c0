"""The text tokenizer of a miniature: a phoneme is an id, and that is all.

Llama's tokens are made for a text model that knows a language, and letters are not how words sound:
a miniature cannot learn English spelling from a few thousand sentences. hibari's dictionary says
how a text sounds, its numbers and initials too (https://github.com/MMWilliams/hibari). Phonemes
come at about the rate of frames (15 and 12.5 a second), so that reading on by one is nearly always
right.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from backtalk.errors import ModelError

PHONEMES = " .,!?;:—ˈˌAIOWYTbdfhijklmnpstuvwzæðŋɐɑɔəɛɜɡɪɹɾʃʊʌʒʔʤʧθᵊᵻ"
"""All that American English needs, in the signs of misaki, with pauses and stress."""

BEGIN, END = 0, 1
_MARKS = 2
_SPEAKER = re.compile(r"^\[\d+\]")


class PhonemeTokenizer:
    """Text to ids, the begin and end of text around them.

    Args:
        phonemes: each is one id; what is none of them is not read.
    Raises:
        ModelError: one stands there twice.
    """

    def __init__(self, phonemes: str = PHONEMES) -> None:
        if len(set(phonemes)) != len(phonemes):
            raise ModelError(f"the phonemes {phonemes!r} are not all different")
        self._ids = {phoneme: _MARKS + at for at, phoneme in enumerate(phonemes)}

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return _MARKS + len(self._ids)

    def encode(self, text: str) -> list[int]:
        """Ids of a text between its two marks; the speaker is left out, as there is only one."""
        spoken = _dictionary()(_SPEAKER.sub("", text))
        return [BEGIN, *(self._ids[sign] for sign in spoken if sign in self._ids), END]


@functools.cache
def _dictionary() -> Any:
    """Takes a second to load."""
    from hibari.g2p import G2P

    return G2P()
