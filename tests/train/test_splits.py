"""What is held out stays out: in the plan, and in what the leak check reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from backtalk.train.minitalk.grammar import sum_turn
from backtalk.train.minitalk.leaks import find_leaks
from backtalk.train.minitalk.plan import DIALOGUE_S, MiniTalkSettings, plan_dialogues, plan_shards
from backtalk.train.minitalk.shard_file import Item, SpokenTurn, Utterance
from backtalk.train.minitalk.splits import combination_split, turn_split

NO_SOUND = Utterance("", 0.0, ())


def items_of(settings: MiniTalkSettings) -> list[Item]:
    """A corpus without its recordings."""
    return [
        Item(
            name,
            shard.split,
            dialogue.voice,
            {},
            tuple(
                SpokenTurn(turn, NO_SOUND, NO_SOUND, turn_split(turn) == shard.split != "train")
                for turn in dialogue.turns
            ),
        )
        for shard in plan_shards(settings)
        for name, dialogue, _ in plan_dialogues(shard)
    ]


ITEMS = items_of(MiniTalkSettings(hours=0.5, seed=0))


def split(name: str) -> list[Item]:
    return [item for item in ITEMS if item.split == name]


def test_a_planned_corpus_does_not_leak() -> None:
    assert find_leaks(ITEMS) == []


def test_a_test_question_that_is_also_taught_is_found() -> None:
    stolen = replace(split("test")[0], split="train")
    leaks = find_leaks([*ITEMS, stolen])
    assert any(stolen.name in leak and "was taught" in leak for leak in leaks)


def test_a_test_question_that_is_in_the_validation_split_is_found() -> None:
    stolen = replace(split("test")[0], split="valid")
    assert any("(test) asks what was taught" in leak for leak in find_leaks([*ITEMS, stolen]))


def test_a_taught_question_that_is_called_held_out_is_found() -> None:
    taught = split("train")[0]
    turns = tuple(replace(spoken, is_held_out=True) for spoken in taught.turns)
    wrong = replace(taught, split="test", turns=turns, name="wrong")
    assert any("wrong" in leak for leak in find_leaks([*ITEMS, wrong]))


def test_a_test_dialogue_that_holds_out_nothing_is_found() -> None:
    idle = replace(split("train")[0], split="test", name="idle")
    assert any("idle (test) holds out nothing" in leak for leak in find_leaks([*ITEMS, idle]))


def test_corpora_of_different_seeds_hold_out_the_same() -> None:
    other = items_of(MiniTalkSettings(hours=0.5, seed=1))
    taught_by_other = [item for item in other if item.split == "train"]
    assert find_leaks([*taught_by_other, *split("test")]) == []
    assert [item.turns for item in other[:20]] != [item.turns for item in ITEMS[:20]]


def test_the_order_of_a_sum_is_not_another_combination() -> None:
    one, other = sum_turn("", "plus", 3, 15), sum_turn("", "plus", 15, 3)
    assert one.combinations == other.combinations
    less, more = sum_turn("", "minus", 15, 3), sum_turn("", "minus", 15, 12)
    assert less.combinations != more.combinations


def test_about_a_tenth_is_held_out_for_the_test_and_half_of_that_for_validation() -> None:
    counts = Counter(combination_split(f"sum:plus:{a}:{b}") for a in range(40) for b in range(40))
    assert 130 < counts["test"] < 190
    assert 60 < counts["valid"] < 100


def test_a_plan_has_as_much_as_was_asked_for_and_is_the_same_again() -> None:
    settings = MiniTalkSettings(hours=20.0, seed=3)
    shards = plan_shards(settings)
    dialogues = sum(shard.dialogues for shard in shards)
    assert dialogues * DIALOGUE_S >= 20 * 3600
    assert shards == plan_shards(settings)
    assert len({shard.name for shard in shards}) == len(shards)
    assert [name for name, _, _ in plan_dialogues(shards[0])][:1] == ["test-0000-0000"]


def test_a_corpus_of_an_hour_has_two_hundred_held_out_questions() -> None:
    held_out = [spoken for item in split("test") for spoken in item.turns if spoken.is_held_out]
    of_an_hour = sum(
        s.dialogues for s in plan_shards(MiniTalkSettings(hours=1.0)) if s.split == "test"
    )
    assert len(held_out) / len(split("test")) * of_an_hour >= 200


def test_tiny_corpora_have_all_three_splits() -> None:
    shards = plan_shards(MiniTalkSettings(hours=0.02))
    assert {shard.split for shard in shards} == {"train", "valid", "test"}
    assert all(shard.dialogues >= 1 for shard in shards)
