"""Sentences of common words: a grammar and no meaning, so that nobody knows the next word.

The words are those of the dictionary of hibari's part-of-speech tagger.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from random import Random

_SENTENCES = (
    "The JJ NN VBD the JJ NNS.",
    "JJ NNS are RB JJ.",
    "He VBD the NN and the NNS of the NN.",
    "Did they VB a JJ NN before the NN?",
    "If you VB the NN, the NNS will never VB.",
    "She VBD RB, and the NN was JJ.",
    "Please VB the JJ NNS in the NN.",
    "It was the NN, not the NNS, that made the NN so JJ.",
    "NNS, NNS and JJ NNS VBD the NN.",
    "Why is VBG a NN so JJ?",
)
_KINDS = ("NN", "NNS", "JJ", "RB", "VB", "VBD", "VBG")
_MARKS = ",.?"


def draw_sentence(random: Random) -> str:
    """One of about ten words."""
    words = _words()
    drawn = []
    for token in random.choice(_SENTENCES).split():
        kind = token.strip(_MARKS)
        drawn.append(
            token.replace(kind, random.choice(words[kind])) if kind in words else token
        )  # fmt: skip
    text = " ".join(drawn)
    return text[0].upper() + text[1:]


@functools.cache
def _words() -> dict[str, tuple[str, ...]]:
    """By part of speech."""
    import hibari

    path = Path(hibari.__file__).parent / "assets" / "tagger.json.gz"
    tagged = json.loads(gzip.decompress(path.read_bytes()))["tagdict"]
    plain = sorted(
        word
        for word in tagged
        if len(word) >= 3 and word.isascii() and word.isalpha() and word.islower()
    )
    return {kind: tuple(word for word in plain if tagged[word] == kind) for kind in _KINDS}
