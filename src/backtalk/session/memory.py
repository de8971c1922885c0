"""A conversation's memory: entries in order, each with an id, so that they can be changed.

The session writes it (what the user said, what they heard in reply), the client may edit it, the
language model reads it. A reply that was cut is remembered as far as it was heard.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

NO_TOOL_OUTPUT = '{"error": "no answer"}'
ROOT = "root"
"""Stands for the place before the first entry."""


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the conversation as the language model sees it.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        content: text.
        tool_calls: an assistant's tool requests, in OpenAI's JSON form.
        tool_call_id: the request a `tool` message answers.
    """

    role: str
    content: str
    tool_calls: tuple[dict[str, Any], ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class SpokenText:
    """Which words of a reply are where in its sound.

    Attributes:
        spans: first sample and text of every piece that has words, in order.
        samples: length of the sound.
    """

    spans: tuple[tuple[int, str], ...]
    samples: int

    def until(self, samples: int) -> str:
        """The words in the first `samples` samples; a word half heard is left out."""
        words: list[str] = []
        for n, (start, text) in enumerate(self.spans):
            text = text.strip()
            end = self.spans[n + 1][0] if n + 1 < len(self.spans) else self.samples
            if end <= samples:
                words.append(text)
            elif start < samples:
                # Inside a chunk, speaking time is taken to be proportional to letters.
                share = (samples - start) / max(1, end - start) * len(text)
                words.append(" ".join(text[: int(share) + 1].split(" ")[:-1]))
        return " ".join(word for word in words if word)


@dataclass(slots=True)
class Entry:
    """One entry of a conversation.

    Attributes:
        id: unique in its conversation.
        message: what the language model is shown.
        spoken: where its words are in the sound, for a reply that was spoken.
    """

    id: str
    message: Message
    spoken: SpokenText | None = None

    def say(self, text: str) -> None:
        """Replace the text."""
        old = self.message
        self.message = Message(old.role, text, old.tool_calls, old.tool_call_id)


@dataclass
class Memory:
    """The entries of one conversation.

    Args:
        max_entries: the oldest ones are forgotten beyond that.
    """

    max_entries: int = 512
    _entries: list[Entry] = field(default_factory=list)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, entry_id: str) -> Entry | None:
        """The entry, or None."""
        return next((entry for entry in self._entries if entry.id == entry_id), None)

    def add(self, entry: Entry, after: str | None = None) -> str | None:
        """Put an entry behind `after`; None is the end, `root` the beginning.

        Returns:
            The id of the entry it now follows, None if it is the first.
        Raises:
            KeyError: there is no entry `after`, or one with the new entry's id already.
        """
        if self.get(entry.id) is not None:
            raise KeyError(entry.id)
        if after is None:
            at = len(self._entries)
        elif after == ROOT:
            at = 0
        else:
            at = self._entries.index(self._known(after)) + 1
        self._entries.insert(at, entry)
        before = self._entries[at - 1].id if at else None
        del self._entries[: max(0, len(self._entries) - self.max_entries)]
        return before

    def remove(self, entry_id: str) -> None:
        """Forget an entry.

        Raises:
            KeyError: there is none of that id.
        """
        self._entries.remove(self._known(entry_id))

    def _known(self, entry_id: str) -> Entry:
        entry = self.get(entry_id)
        if entry is None:
            raise KeyError(entry_id)
        return entry

    def messages(self) -> list[Message]:
        """What the language model is shown: no empty entries, and every tool request answered.

        Requests that follow each other are one message, their answers come right after it:
        endpoints refuse anything else.
        """
        entries = [entry.message for entry in self._entries]
        outputs = {m.tool_call_id: m for m in entries if m.role == "tool"}
        shown: list[Message] = []
        calls: list[dict[str, Any]] = []

        def close_calls() -> None:
            if not calls:
                return
            shown.append(Message("assistant", "", tool_calls=tuple(calls)))
            for call in calls:
                missing = Message("tool", NO_TOOL_OUTPUT, tool_call_id=call["id"])
                shown.append(outputs.get(call["id"], missing))
            calls.clear()

        for message in entries:
            if message.tool_calls:
                calls.extend(message.tool_calls)
            elif message.role != "tool" and message.content:
                close_calls()
                shown.append(message)
        close_calls()
        return shown


def new_entry_id() -> str:
    """An id that no other conversation has either."""
    return f"item_{secrets.token_hex(10)}"


def tool_call_json(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool request in OpenAI's form."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def memory_of(messages: Sequence[Message]) -> Memory:
    """A memory with these entries, under ids of their own."""
    memory = Memory()
    for message in messages:
        memory.add(Entry(new_entry_id(), message))
    return memory
