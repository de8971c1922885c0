"""What is said: MiniTalk's small world, and sentences of common words.

The small world alone has too few words to hear every sound in every company. The others come from
the dictionary of hibari's part-of-speech tagger, so their sentences have a grammar and no meaning.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from random import Random

from backtalk.train.conversion.teacher import Split
from backtalk.train.minitalk.grammar import draw_dialogue
from backtalk.train.minitalk.splits import dialogue_split
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
_HELD_OUT_OF = 10


def draw_text(random: Random, split: Split) -> str:
    """A sentence. What MiniTalk holds out, and a tenth of the words, are only in `held-out`."""
    if random.random() < _WORLD_SHARE:
        return _of_the_world(random, split)
    words = _words(split)
    drawn = [
        random.choice(words[token.strip(",.?")]) + token[len(token.strip(",.?")) :]
        if token.strip(",.?") in words
        else token
        for token in random.choice(_SENTENCES).split()
    ]
    text = " ".join(drawn)
    return text[0].upper() + text[1:]


def _of_the_world(random: Random, split: Split) -> str:
    wanted = "train" if split == "train" else "test"
    while True:
        dialogue = draw_dialogue(random, draw_voice(random))
        if dialogue_split(dialogue) == wanted:
            turn = random.choice(dialogue.turns)
            return random.choice((turn.question, turn.answer))


@functools.cache
def _words(split: Split) -> dict[str, tuple[str, ...]]:
    """By part of speech."""
    import hibari

    path = Path(hibari.__file__).parent / "assets" / "tagger.json.gz"
    tagged = json.loads(gzip.decompress(path.read_bytes()))["tagdict"]
    plain = sorted(
        word for word in tagged if word.isascii() and word.isalpha() and word.islower()
    )  # fmt: skip
    mine = [
        word
        for number, word in enumerate(plain)
        if len(word) >= 3 and (number % _HELD_OUT_OF == 0) == (split == "held-out")
    ]
    return {kind: tuple(word for word in mine if tagged[word] == kind) for kind in _KINDS}
