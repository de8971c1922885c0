"""A conversation that can be edited, and what a language model is shown of it."""

from __future__ import annotations

import pytest

from backtalk.session.memory import (
    NO_TOOL_OUTPUT,
    Entry,
    Memory,
    Message,
    SpokenText,
    memory_of,
    tool_call_json,
)


def ids(memory: Memory) -> list[str]:
    return [entry.id for entry in memory]


def test_entries_are_added_anywhere_and_removed_by_id() -> None:
    memory = Memory()
    assert memory.add(Entry("b", Message("user", "b"))) is None
    assert memory.add(Entry("d", Message("user", "d"))) == "b"
    assert memory.add(Entry("a", Message("user", "a")), after="root") is None
    assert memory.add(Entry("c", Message("user", "c")), after="b") == "b"
    assert ids(memory) == ["a", "b", "c", "d"]
    memory.remove("b")
    assert ids(memory) == ["a", "c", "d"]
    for after in ("b", "never"):
        with pytest.raises(KeyError):
            memory.add(Entry("e", Message("user", "e")), after=after)
    with pytest.raises(KeyError):
        memory.add(Entry("a", Message("user", "again")))


def test_the_oldest_entries_are_forgotten_beyond_the_bound() -> None:
    memory = Memory(max_entries=3)
    for n in range(5):
        memory.add(Entry(str(n), Message("user", str(n))))
    assert ids(memory) == ["2", "3", "4"]


def test_empty_entries_are_not_shown_to_the_language_model() -> None:
    memory = memory_of([Message("user", "hi"), Message("assistant", ""), Message("user", "you?")])
    assert [m.content for m in memory.messages()] == ["hi", "you?"]


def test_tool_requests_are_shown_together_and_each_with_its_answer() -> None:
    def call(name: str) -> Message:
        return Message("assistant", "", (tool_call_json(name, name, "{}"),))

    memory = memory_of(
        [
            Message("user", "time and weather?"),
            Message("assistant", "Let me see."),
            call("time"),
            call("weather"),
            Message("user", "quick!"),
            Message("tool", "four", tool_call_id="time"),
        ]
    )
    shown = memory.messages()
    assert [m.role for m in shown] == ["user", "assistant", "assistant", "tool", "tool", "user"]
    assert [c["id"] for c in shown[2].tool_calls] == ["time", "weather"]
    assert [m.content for m in shown[3:5]] == ["four", NO_TOOL_OUTPUT]


@pytest.mark.parametrize(
    ("samples", "heard"),
    [(0, ""), (99, "one"), (100, "one two"), (149, "one two"), (200, "one two three four")],
)
def test_words_half_heard_are_left_out(samples: int, heard: str) -> None:
    spoken = SpokenText(((0, "one two"), (100, "three four")), 200)
    assert spoken.until(samples) == heard
