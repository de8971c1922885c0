"""MiniTalk's texts: right answers, words only, and the same ones for the same seed."""

from __future__ import annotations

import re
from random import Random

from num2words import num2words

from backtalk.train.minitalk import world
from backtalk.train.minitalk.grammar import draw_dialogue, number
from backtalk.train.minitalk.turn import Dialogue, Turn

DIALOGUES = [draw_dialogue(Random(seed), "joe") for seed in range(3000)]
TURNS = [turn for dialogue in DIALOGUES for turn in dialogue.turns]
VALUES = {number(value): value for value in range(200)}
RESULTS = {
    "plus": lambda left, right: left + right,
    "minus": lambda left, right: left - right,
    "times": lambda left, right: left * right,
}


def of_task(task: str) -> list[Turn]:
    found = [turn for turn in TURNS if turn.task == task]
    assert len(found) > 50, task
    return found


def test_every_sum_is_right() -> None:
    for turn in of_task("sum"):
        sum_, result = turn.answer.lower().rstrip(".").split(" is ")
        left, operation, right = re.split(r" (plus|minus|times) ", sum_)
        assert RESULTS[operation](VALUES[left], VALUES[right]) == VALUES[result] >= 0
        assert turn.key == result


def test_every_step_in_the_calendar_is_right() -> None:
    for kind, names in (("day", world.DAYS), ("month", world.MONTHS)):
        for turn in of_task(kind):
            steps, direction, name, found = re.fullmatch(
                rf"(The|Two|Three) {kind}s? (after|before) (\w+) is (\w+)\.", turn.answer
            ).groups()
            step = {"The": 1, "Two": 2, "Three": 3}[steps] * (1 if direction == "after" else -1)
            assert names[(names.index(name) + step) % len(names)] == found


def test_a_question_says_what_its_answer_is_about() -> None:
    for turn in TURNS:
        if turn.task in ("again", "name") or turn.question.startswith("And "):
            continue
        about = turn.combinations[0].split(":")[1:]
        if turn.task == "sum":
            about = [number(int(value)) for value in about[1:]]
        elif turn.task in ("day", "month", "repeat"):
            about = about[-1:]
        else:
            about = about[:1]
        for words in about:
            assert words.lower() in turn.question.lower(), turn


def test_a_follow_up_goes_on_from_the_answer_before() -> None:
    pairs = [
        (first, second)
        for dialogue in DIALOGUES
        for first, second in zip(dialogue.turns, dialogue.turns[1:], strict=False)
    ]
    sums = [(a, b) for a, b in pairs if b.task == "sum"]
    assert sums
    for first, second in sums:
        assert second.answer.lower().startswith(first.key)
    agains = [(a, b) for a, b in pairs if b.task == "again"]
    assert agains
    for first, second in agains:
        assert second.answer == first.answer


def test_texts_have_words_and_marks_only() -> None:
    for turn in TURNS:
        for text in (turn.question, turn.answer):
            assert re.fullmatch(r"[A-Za-z' ,.?]+", text), text
            assert text[-1] in ".?"
            assert text[0].isupper()


def test_a_key_is_part_of_its_answer() -> None:
    for turn in TURNS:
        plain = re.sub(r"[^a-z ]", "", turn.answer.lower())
        assert turn.key in plain, turn


def test_all_tasks_and_dialogue_lengths_occur() -> None:
    assert {turn.task for turn in TURNS} == {
        "sum",
        "day",
        "month",
        "capital",
        "color",
        "opposite",
        "spelling",
        "greeting",
        "repeat",
        "name",
        "again",
    }
    assert {len(dialogue.turns) for dialogue in DIALOGUES} == {1, 2, 3}


def test_the_same_seed_gives_the_same_dialogue() -> None:
    assert [draw_dialogue(Random(seed), "joe") for seed in range(50)] == DIALOGUES[:50]
    assert len(set(map(_text, DIALOGUES[:50]))) > 40


def test_numbers_are_words_without_hyphens() -> None:
    assert number(22) == "twenty two"
    assert number(7) == num2words(7)


def _text(dialogue: Dialogue) -> tuple[str, ...]:
    return tuple(turn.question for turn in dialogue.turns)
