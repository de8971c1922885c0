"""Sentences of common words, read out by the voice of the answers, as codes.

MiniTalk's answers are a few thousand sentences, which a model soon knows by heart, and then it no
longer reads. Of these it does not know the next word.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from random import Random

from backtalk.train.common_words import draw_sentence
from backtalk.train.minitalk.answer_voice import AnswerVoice
from backtalk.train.minitalk.voices import seed_of
from backtalk.train.spoken_codes import CodeStore, Said, SpokenCodes, joined

SHARD = 200
"""Sentences of a file."""


def reading_codes(store: CodeStore, sentences: int, seed: int) -> SpokenCodes:
    """So many sentences, or a few more, spoken and encoded the first time.

    Args:
        sentences: at least one.
    Raises:
        TrainingError: see `CodeStore.shard`.
        ConfigError: the voice is of a version that is not known.
    """
    made_from = {"voice": f"hibari-tts {version('hibari-tts')}", "seed": seed}
    shards = [
        store.shard(f"readings-{number:04d}", made_from, partial(_read, number, seed))
        for number in range(-(-sentences // SHARD))
    ]
    return joined(shards)


def _read(shard: int, seed: int) -> Iterator[Said]:
    voice = AnswerVoice()
    for number in range(SHARD):
        name = f"readings:{shard}:{number}"
        text = draw_sentence(Random(f"{seed}:{name}"))
        yield Said(text, voice.speak(text, seed_of(seed, name)).pcm, voice.sample_rate)
