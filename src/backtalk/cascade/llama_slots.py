"""Which of llama.cpp's prompt caches a request should use: the one that knows its conversation."""

from __future__ import annotations

import os
from collections.abc import Sequence

from backtalk.session.memory import Message


class SlotBook:
    """Remembers what each slot was last asked, and gives a new conversation the least used one.

    llama.cpp's own choice is the slot with the longest common beginning. Conversations of one
    server all begin with the same system prompt, so a new one would overwrite another's cache.

    Args:
        slots: 1 or more.
    """

    def __init__(self, slots: int) -> None:
        self._last: list[Sequence[Message]] = [[] for _ in range(slots)]
        self._order = list(range(slots))

    def pick(self, messages: Sequence[Message]) -> int:
        """The slot for a request: the one that has read most of it, beyond the system prompt."""
        acquainted = [
            (*likeness, self._order.index(slot), slot)
            for slot, last in enumerate(self._last)
            if (likeness := _likeness(messages, last)) is not None
        ]
        slot = max(acquainted)[-1] if acquainted else self._order[0]
        self._order.remove(slot)
        self._order.append(slot)
        self._last[slot] = list(messages)
        return slot


def _likeness(messages: Sequence[Message], last: Sequence[Message]) -> tuple[int, float] | None:
    """Whole messages in common, and how much of the next; None if they are strangers."""
    common = 0
    for message, other in zip(messages, last, strict=False):
        if message != other:
            break
        common += 1
    if common == 0:
        return None
    if common == len(last) or common == len(messages):
        return common, 0.0
    old = last[common].content
    shared = len(os.path.commonprefix([old, messages[common].content])) / max(1, len(old))
    if common > 1:
        return common, shared
    # A slot with a first turn in it is this conversation's if that turn's words have only changed
    # a little; one word is what a conversation is prepared with.
    is_own = len(last) <= 2 and (shared >= 0.7 or " " not in old)
    return (common, shared) if is_own else None
