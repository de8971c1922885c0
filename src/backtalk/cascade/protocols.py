"""The plug-in protocols of the cascade: what an ASR, an LLM, a segmenter and a TTS must do.

A plug-in is made by a builder named in its package's entry points (see `plugins.py`). Every
blocking method here is called on a worker thread of its own, one call at a time, never on the
event loop. `VoiceActivityDetector` is shared by all turn-based systems and so lives with the
session layer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from backtalk.session.memory import Message
from backtalk.stream.cancel import CancelToken


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recogniser heard.

    Attributes:
        text: cleaned text, empty when there was no speech in the audio.
        settled_samples: audio before this position need not be heard again: its text will not
            change. The recogniser uses it to keep late work small; 0 if it settles nothing.
        settled_text: the text of that audio.
    """

    text: str
    settled_samples: int = 0
    settled_text: str = ""


class Asr(Protocol):
    """Turns a user turn's audio into text. Stateless: what was settled comes back in by value."""

    sample_rate: int

    def transcribe(self, pcm: np.ndarray, earlier: Transcript | None = None) -> Transcript:
        """Recognise a turn, or as much of it as there is so far.

        Args:
            pcm: float32 [T] at `sample_rate`, the whole turn from its first sample.
            earlier: an earlier result on a prefix of the same audio; its settled part is kept.
        Raises:
            StageError: the recogniser failed.
        """
        ...

    def warm_up(self) -> None:
        """Run once on made-up input, so that the first real call is as fast as later ones."""
        ...


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """The language model asks for a tool (`arguments` is JSON text)."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """What a request may ask of the language model.

    Attributes:
        max_tokens: length cap of a reply.
        temperature: 0 is greedy.
        tools: tool declarations in OpenAI's JSON form.
        tool_choice: `auto`, `none`, `required` or a named function, OpenAI's form.
    """

    max_tokens: int = 120
    temperature: float = 0.3
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = "auto"


class Llm(Protocol):
    """Streams a reply's text."""

    def reply(
        self, messages: Sequence[Message], settings: LlmSettings, cancel: CancelToken
    ) -> AsyncGenerator[str | ToolRequest, None]:
        """Yield text pieces (any size) and tool requests as they are generated.

        Generation must stop soon after `cancel` is set or the iterator is closed.

        Raises:
            StageError: refused, stalled or cut; the message says what to do.
        """
        ...

    async def end_probability(self, messages: Sequence[Message]) -> float | None:
        """How likely the last message, the user's, is over where it stops.

        Judged by whether the model would end the sentence there or go on with it. It should leave
        the prompt cache filled with these messages.

        Returns:
            0..1, or None if this model does not show its probabilities.
        """
        ...

    async def warm_up(self, messages: Sequence[Message]) -> None:
        """Load what is lazy and fill the prompt cache with `messages`."""
        ...

    async def close(self) -> None:
        """Let go of threads, sockets and memory. Safe to call twice."""
        ...


@dataclass(frozen=True, slots=True)
class SpokenChunk:
    """A piece of synthesised speech.

    Attributes:
        pcm: float32 [T] at the TTS's `sample_rate`.
        text: the words in it, so that what was heard can be mapped back to text. A streaming
            synthesiser puts the whole chunk's text on its first piece and "" on the others.
    """

    pcm: np.ndarray = field(repr=False)
    text: str = ""


class Tts(Protocol):
    """Speaks one chunk of text at a time."""

    sample_rate: int

    def speak(self, text: str, cancel: CancelToken) -> Iterator[SpokenChunk]:
        """Yield audio as it is made, without leading silence; stop when `cancel` is set.

        Args:
            text: speakable text (see `speakable.py`), one chunk of the segmenter.
        Raises:
            StageError: the synthesiser failed.
        """
        ...

    def warm_up(self) -> None:
        """Speak something, unheard."""
        ...


class Segmenter(Protocol):
    """Cuts a growing text into chunks worth speaking. One per reply; its state is itself."""

    def push(self, text: str) -> list[str]:
        """Add text; return the chunks that are now complete, in order, possibly none."""
        ...

    def flush(self) -> list[str]:
        """The text is over: return what is left."""
        ...
