"""What is said: MiniTalk's small world, and sentences of common words.

The small world alone has too few words to hear every sound in every company.
"""

from __future__ import annotations

import zlib
from random import Random

from backtalk.train.common_words import draw_sentence
from backtalk.train.conversion.teacher import Split
from backtalk.train.minitalk.grammar import draw_dialogue
from backtalk.train.minitalk.voices import draw_voice

_WORLD_SHARE = 0.35
_HELD_OUT_OF = 10


def draw_text(random: Random, split: Split) -> str:
    """A sentence or two. A hash decides for every text which split it may be in."""
    while True:
        is_of_the_world = random.random() < _WORLD_SHARE
        text = _of_the_world(random) if is_of_the_world else draw_sentence(random)
        if (zlib.crc32(text.encode()) % _HELD_OUT_OF == 0) == (split == "held-out"):
            return text


def _of_the_world(random: Random) -> str:
    turn = random.choice(draw_dialogue(random, draw_voice(random)).turns)
    return random.choice((turn.question, turn.answer))
