"""The turn-based builder: a user turn in, a stream of text and audio out.

A `Responder` is a loaded system that many sessions share; a `Conversation` is one session's slot
in it and reads the session's memory (`memory.py`). The turn-taking layer (`turn_session.py`)
decides when a turn is over, when the reply is heard and when it must stop; a system behind this
protocol never deals with time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from backtalk.session.memory import Memory
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
    """The model asks for a tool. With the answer in the memory, another reply goes on."""

    call_id: str
    name: str
    arguments: str


ReplyPart = Heard | Said | Sound | Reached | Computed | ToolAsked


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """What may be asked of one reply; None leaves it to the system.

    Attributes:
        instructions: how to answer; put before the system's own.
        tools: declarations in OpenAI's JSON form.
        tool_choice: `auto`, `none`, `required` or a named function, OpenAI's form.
        max_tokens: longest reply.
        temperature: of the language model.
        speaks: False wants text without sound.
    """

    instructions: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = "auto"
    max_tokens: int | None = None
    temperature: float | None = None
    speaks: bool = True


class Conversation(Protocol):
    """One session's slot in a responder."""

    async def hear(
        self, turn: UserTurn, options: ReplyOptions, *, weighs: bool = True
    ) -> WordsSoFar | None:
        """Recognise the turn so far, so that less is left to do at its end.

        Args:
            options: of the reply that will probably be wanted.
            weighs: also judge whether the turn may be over. Not wanted while a reply is heard.
        Returns:
            None if this system has no words for what it hears.
        """
        ...

    def prepare(self, options: ReplyOptions) -> None:
        """The options of the replies to come have changed; returns at once."""
        ...

    def respond(
        self, turn: UserTurn | None, options: ReplyOptions, cancel: CancelToken
    ) -> AsyncGenerator[ReplyPart, None]:
        """Make a reply. It may be thrown away, so nothing is remembered here: the session does.

        A system that recognises words yields `Heard` first; empty words end the reply.

        Args:
            turn: what the user says, not yet in the memory; None replies to the memory as it is.
        Raises:
            StageError: a stage failed; parts yielded so far stand.
        """
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

    def open(self, memory: Memory) -> Conversation:
        """A new conversation that reads `memory`, which its session writes."""
        ...

    async def close(self) -> None:
        """Free the models. Safe to call twice."""
        ...
