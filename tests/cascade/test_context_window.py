"""Conversations longer than a context: the oldest turns go, rarely and whole."""

from hypothesis import given
from hypothesis import strategies as st

from backtalk.cascade.context_window import estimated_tokens, fit_context
from backtalk.session.memory import Message

SYSTEM = Message("system", "Be brief.")


def turn(number: int, words: int = 10) -> list[Message]:
    return [Message("user", f"q{number} " * words), Message("assistant", f"a{number} " * words)]


def test_conversation_that_fits_is_left_alone():
    messages = [SYSTEM, *turn(1), Message("user", "hi")]
    assert fit_context(messages, 500) == messages
    assert fit_context([], 500) == []
    assert fit_context([SYSTEM], 500) == [SYSTEM]


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), st.text(max_size=200))),
    st.integers(1, 300),
)
def test_what_is_kept_is_the_system_prompt_and_the_end_and_fits(entries, budget_tokens):
    messages = [SYSTEM, *(Message(role, text) for role, text in entries), Message("user", "hello")]
    kept = fit_context(messages, budget_tokens)
    assert kept[0] == SYSTEM
    assert kept[-1].content in messages[-1].content
    assert kept[1:-1] == messages[len(messages) - len(kept) + 1 : -1]
    assert len(kept) <= 2 or sum(map(estimated_tokens, kept)) <= budget_tokens


def test_tool_result_never_loses_its_call():
    call = Message("assistant", "", tool_calls=({"id": "c"},))
    messages = [SYSTEM, Message("user", "x" * 300), call, Message("tool", "y" * 300), *turn(2)]
    kept = fit_context(messages, 150)
    assert kept == [SYSTEM, *turn(2)]


def test_turns_are_dropped_seldom_so_that_a_prompt_cache_stays_good():
    messages, starts = [SYSTEM], []
    for number in range(100, 160):
        kept = fit_context([*messages, Message("user", "next")], 500)
        starts.append(kept[1].content)
        messages += turn(number)
    assert len(set(starts)) <= 1 + len(starts) // 4


def test_of_a_last_turn_too_long_its_end_is_kept():
    words = " ".join(f"w{number}" for number in range(1000))
    (kept,) = fit_context([Message("user", words)], 200)
    assert 400 < len(kept.content) < 600
    assert words.endswith(kept.content)
