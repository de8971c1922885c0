"""Fits a conversation of any length into a model's context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backtalk.session.memory import Message

# English is about 4.5 bytes to a token; fewer here, as too long is worse than too short.
_BYTES_PER_TOKEN = 3
# What a chat template puts around a message.
_TOKENS_PER_MESSAGE = 8


def estimated_tokens(message: Message) -> int:
    """An upper estimate of a message's length in tokens, for ordinary text."""
    text_bytes = len(message.content.encode("utf-8", "replace"))
    calls_bytes = sum(len(str(call)) for call in message.tool_calls)
    return (text_bytes + calls_bytes) // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE


def fit_context(messages: Sequence[Message], budget_tokens: int) -> list[Message]:
    """Drop the oldest turns until the rest fits.

    System messages before the first turn and everything since the last user message stay; a turn
    goes whole, so no tool result loses its call. Turns are dropped half a budget at a time, not one
    by one: while a conversation grows by some turns, its kept part still begins with the same
    words, which a prompt cache knows. If the last turn alone is too long, only the end of the
    user's words is kept.

    Args:
        messages: the whole conversation.
        budget_tokens: by `estimated_tokens`.
    """
    lead = 0
    while lead < len(messages) and messages[lead].role == "system":
        lead += 1
    head, turns = list(messages[:lead]), _turns(messages[lead:])
    if not turns:
        return head
    head_tokens = _tokens(head)
    room_tokens = budget_tokens - head_tokens
    excess_tokens = sum(map(_tokens, turns)) - room_tokens
    if excess_tokens > 0:
        step_tokens = max(1, room_tokens // 2)
        to_drop_tokens = -(-excess_tokens // step_tokens) * step_tokens
        dropped_tokens = 0
        while len(turns) > 1 and dropped_tokens < to_drop_tokens:
            dropped_tokens += _tokens(turns.pop(0))
        turns[-1] = _shortened(turns[-1], room_tokens - sum(map(_tokens, turns[:-1])))
    return head + [message for turn in turns for message in turn]


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Cut before every user message."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _tokens(messages: Sequence[Message]) -> int:
    return sum(map(estimated_tokens, messages))


def _shortened(turn: list[Message], room_tokens: int) -> list[Message]:
    excess_tokens = _tokens(turn) - room_tokens
    if excess_tokens <= 0:
        return turn
    first = turn[0]
    raw = first.content.encode("utf-8", "replace")
    cut_bytes = min(len(raw), excess_tokens * _BYTES_PER_TOKEN + _BYTES_PER_TOKEN)
    return [replace(first, content=raw[cut_bytes:].decode("utf-8", "ignore").lstrip()), *turn[1:]]
