"""The system prompt of a spoken conversation."""

from __future__ import annotations

SPOKEN_STYLE_PROMPT = (
    "You are a friendly voice assistant. "
    "Everything you write is spoken aloud, so talk the way people talk. "
    "Answer in one or two short sentences of plain words. "
    "Never use lists, markdown, emoji or links."
)
"""The default instructions.

Short, because a small model follows few rules at a time and every token of it is in the context of
every turn. The rules are about form only: a long or formatted answer costs the listener seconds,
where a reader would skim. The opening sentence is kept short as well, for it is the first chunk
that is spoken.
"""
