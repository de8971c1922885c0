"""The turn-based builder: a user turn in, a stream of text and audio out.

A `Responder` is a loaded system that many sessions share; a `Conversation` is one session's slot
in it and holds all that it remembers. The turn-taking layer (`turn_session.py`) decides when a
turn is over, when the reply is heard and when it must stop; a system behind this protocol never
deals with time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from backtalk.stream.cancel import CancelToken


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the user has said in this turn so far.

    Attributes:
        number: of the turn in its session, from 1.
        pcm: float32 [T] at the responder's `sample_rate_in`, from a little before the first word.
        speech_samples: how much of `pcm` is up to the last word; the rest is silence. Two turns
            with the same number and `speech_samples` hold the same words.
    """

    number: int
    pcm: np.ndarray = field(repr=False)
    speech_samples: int = 0


@dataclass(frozen=True, slots=True)
class WordsSoFar:
    """What was recognised of a turn that may go on.

    Attributes:
        text: its words, empty if there were none.
        end_probability: how likely the turn is over, by its words alone; None if not judged.
    """

    text: str
    end_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """The words the user was heard to say, all of them, empty if there were none."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the reply's text, as it was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of the reply's sound.

    Attributes:
        pcm: float32 [T] at the responder's `sample_rate_out`.
        text: the words that begin in this piece, to map what was heard back to text.
    """

    pcm: np.ndarray = field(repr=False)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Reached:
    """A stage of the latency clock is over (now)."""

    stage: str


@dataclass(frozen=True, slots=True)
class Computed:
    """Seconds that a stage spent computing, for the real-time factor."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ToolAsked:
    """The model asks for a tool. The reply goes on after `Conversation.tool_result`."""

    call_id: str
    name: str
    arguments: str


ReplyPart = Heard | Said | Sound | Reached | Computed | ToolAsked


@dataclass(frozen=True, slots=True)
class SettledTurn:
    """How a turn ended, for the conversation's memory.

    Attributes:
        number: of the turn.
        heard_text: what the user heard of the reply: all of it, or the part before they cut in.
        is_complete: False if the reply was cut short.
    """

    number: int
    heard_text: str
    is_complete: bool


class Conversation(Protocol):
    """One session's slot in a responder."""

    async def hear(self, turn: UserTurn, *, weighs: bool = True) -> WordsSoFar | None:
        """Recognise the turn so far, so that less is left to do at its end.

        Args:
            weighs: also judge whether the turn may be over. Not wanted while a reply is heard.
        Returns:
            None if this system has no words for what it hears.
        """
        ...

    def respond(self, turn: UserTurn, cancel: CancelToken) -> AsyncGenerator[ReplyPart, None]:
        """Make a reply. It may be thrown away: nothing is remembered before `settle`.

        A system that recognises words yields `Heard` first; empty words end the reply.

        Raises:
            StageError: a stage failed; parts yielded so far stand.
        """
        ...

    def settle(self, turn: SettledTurn) -> None:
        """Remember the turn that `respond` was last called for, as it really went."""
        ...

    def tool_result(self, call_id: str, output: str) -> None:
        """Answer a `ToolAsked`."""
        ...

    async def close(self) -> None:
        """Give the slot back. Safe to call twice."""
        ...


@dataclass(frozen=True, slots=True)
class ResponderSpec:
    """What the turn-taking layer needs to know of a system.

    Attributes:
        name: its id on the command line.
        sample_rate_in: Hz it hears at.
        sample_rate_out: Hz it speaks at.
        has_transcript: whether it yields `Heard`.
        details: which models it is made of, for reports.
    """

    name: str
    sample_rate_in: int
    sample_rate_out: int
    has_transcript: bool
    details: dict[str, Any] = field(default_factory=dict)


class Responder(Protocol):
    """A loaded turn-based system."""

    spec: ResponderSpec

    async def warm_up(self) -> None:
        """Two generations, unheard, so that the first turn is as fast as the tenth."""
        ...

    def open(self) -> Conversation:
        """A new conversation with an empty memory."""
        ...

    async def close(self) -> None:
        """Free the models. Safe to call twice."""
        ...
