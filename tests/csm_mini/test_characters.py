"""Text as characters."""

from __future__ import annotations

import pytest

from backtalk.csm.characters import BEGIN, CHARACTERS, END, CharacterTokenizer
from backtalk.errors import ModelError
from backtalk.train.minitalk.plan import MiniTalkSettings, plan_dialogues, plan_shards


def test_a_text_stands_between_begin_and_end() -> None:
    ids = CharacterTokenizer("abc").encode("Ba")
    assert ids == [BEGIN, 3, 2, END]


def test_accents_capitals_and_unknown_characters_are_left_out() -> None:
    tokens = CharacterTokenizer()
    assert tokens.encode("Ça, va ✓") == tokens.encode("ca, va ")


def test_ids_stay_below_the_vocabulary() -> None:
    tokens = CharacterTokenizer()
    assert max(tokens.encode(CHARACTERS)[1:-1]) == tokens.vocab - 1


def test_all_answers_of_the_small_world_can_be_read() -> None:
    tokens = CharacterTokenizer()
    shard = plan_shards(MiniTalkSettings(hours=0.1))[-1]
    for _, dialogue, _ in plan_dialogues(shard):
        for turn in dialogue.turns:
            assert len(tokens.encode(turn.answer)) == len(turn.answer) + 2


def test_a_character_that_stands_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="not all different"):
        CharacterTokenizer("aba")
