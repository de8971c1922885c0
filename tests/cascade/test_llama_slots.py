"""Which prompt cache a request goes to."""

from __future__ import annotations

from backtalk.cascade.llama_slots import SlotBook
from backtalk.session.memory import Message

SYSTEM = Message("system", "Be brief.")


def said(*texts: str) -> list[Message]:
    roles = ["user", "assistant"]
    return [SYSTEM, *[Message(roles[n % 2], text) for n, text in enumerate(texts)]]


def test_a_conversation_goes_back_to_the_slot_that_knows_it() -> None:
    book = SlotBook(3)
    anna, bert = book.pick(said("I am Anna")), book.pick(said("I am Bert"))
    assert anna != bert
    for _ in range(3):
        assert book.pick(said("I am Anna", "Hello Anna", "Who am I?")) == anna
        assert book.pick(said("I am Bert", "Hello Bert", "Who am I?")) == bert


def test_a_new_conversation_takes_the_slot_that_was_used_longest_ago() -> None:
    book = SlotBook(2)
    old, new = book.pick(said("one")), book.pick(said("two"))
    assert book.pick(said("three")) == old
    assert book.pick(said("four")) == new


def test_words_that_are_still_changing_stay_in_their_slot() -> None:
    book = SlotBook(3)
    for name in ("anna", "bert"):
        book.pick(said(f"I am {name} and I begin"))
    anna = book.pick(said("Can you tell"))
    bert = book.pick(said("Who was the"))
    assert book.pick(said("Can you tell me the time?")) == anna
    assert book.pick(said("Who was the first?")) == bert


def test_a_first_turn_goes_where_its_system_prompt_was_read() -> None:
    book = SlotBook(3)
    book.pick(said("I am Anna and I begin", "Hello Anna"))
    prepared = book.pick(said("Hello"))
    assert book.pick(said("What is the time?")) == prepared
