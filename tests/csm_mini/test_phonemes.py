"""Text as phonemes."""

from __future__ import annotations

import pytest

from backtalk.csm.phonemes import BEGIN, END, PHONEMES, PhonemeTokenizer
from backtalk.errors import ModelError
from backtalk.train.minitalk.plan import MiniTalkSettings, plan_dialogues, plan_shards


def read(text: str) -> str:
    begin, *ids, end = PhonemeTokenizer().encode(text)
    assert (begin, end) == (BEGIN, END)
    return "".join(PHONEMES[at - 2] for at in ids)


def test_a_text_stands_between_begin_and_end_as_it_sounds() -> None:
    assert read("Cat is spelled C, A, T.") == "kˈæt ɪz spˈɛld sˈi, ˈA, tˈi"


def test_who_speaks_is_no_sound() -> None:
    assert read("[0]Bananas are yellow.") == read("Bananas are yellow.")


def test_numbers_and_accents_are_read_and_signs_without_sound_are_not() -> None:
    assert read("25 cafés ✓").startswith(read("twenty five cafes"))


def test_every_sound_of_the_small_world_has_a_sign() -> None:
    from hibari.g2p import G2P

    dictionary = G2P()
    shard = plan_shards(MiniTalkSettings(hours=0.1))[-1]
    for _, dialogue, _ in plan_dialogues(shard):
        for turn in dialogue.turns:
            assert set(dictionary(turn.answer)) <= set(PHONEMES)


def test_a_phoneme_that_stands_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="not all different"):
        PhonemeTokenizer("aba")
