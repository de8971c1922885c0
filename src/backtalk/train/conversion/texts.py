"""What is said: MiniTalk's small world, and sentences of common words.

The small world alone has too few words to hear every sound in every company. The others come from
the dictionary of hibari's part-of-speech tagger, so their sentences have a grammar and no meaning.
"""

from __future__ import annotations

import functools
import gzip
import json
import zlib
from pathlib import Path
from random import Random

from backtalk.train.conversion.teacher import Split
from backtalk.train.minitalk.grammar import draw_dialogue
from backtalk.train.minitalk.voices import draw_voice

_WORLD_SHARE = 0.35
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
_HELD_OUT_OF = 10


def draw_text(random: Random, split: Split) -> str:
    """A sentence or two. A hash decides for every text which split it may be in."""
    while True:
        is_of_the_world = random.random() < _WORLD_SHARE
        text = _of_the_world(random) if is_of_the_world else _of_words(random)
        if (zlib.crc32(text.encode()) % _HELD_OUT_OF == 0) == (split == "held-out"):
            return text


def _of_the_world(random: Random) -> str:
    turn = random.choice(draw_dialogue(random, draw_voice(random)).turns)
    return random.choice((turn.question, turn.answer))


def _of_words(random: Random) -> str:
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
