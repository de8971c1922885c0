"""Deterministic stand-ins for users, detectors and models, for tests on virtual time.

Speech is made of words as constant levels: each word of `WORDS` has its own amplitude, so that a
fake recogniser can read back exactly what a fake user said, and silence is zeros.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from backtalk.cascade.protocols import LlmSettings, SpokenChunk, ToolRequest, Transcript
from backtalk.errors import StageError
from backtalk.session.memory import Memory, Message
from backtalk.session.responder import (
    Computed,
    Heard,
    Reached,
    ReplyOptions,
    ReplyPart,
    ResponderSpec,
    Said,
    Sound,
    UserTurn,
    WordsSoFar,
)
from backtalk.session.turn_session import TurnSession
from backtalk.stream.cancel import CancelToken
from backtalk.stream.clock import now_s
from backtalk.stream.events import Event

RATE = 16000
OUT_RATE = 24000
WORDS = ["noise", "hello", "what", "time", "is", "it", "stop", "uh-huh", "please", "more", "and"]


def word(text: str, ms: int) -> np.ndarray:
    """One word as sound."""
    return np.full(ms * RATE // 1000, 0.2 + 0.02 * WORDS.index(text), np.float32)


def silence(ms: int) -> np.ndarray:
    return np.zeros(ms * RATE // 1000, np.float32)


def spoken_words(pcm: np.ndarray) -> str:
    """What was said in `pcm`; "noise" is not a word."""
    levels = [round((level - 0.2) / 0.02) for level in pcm[:: RATE // 100] if level > 0.1]
    said = [WORDS[n] for i, n in enumerate(levels) if i == 0 or n != levels[i - 1]]
    return " ".join(w for w in said if w != "noise")


class FakeVad:
    """Speech is what is louder than 0.1."""

    sample_rate = RATE
    frame_size = 512

    def new_state(self) -> int:
        return 0

    def step(self, state: int, frame: np.ndarray) -> tuple[float, int]:
        return (1.0 if np.abs(frame).mean() > 0.1 else 0.0), state + 1


class FakeTurnDetector:
    """A turn is complete unless its last word is one of `incomplete_after`."""

    sample_rate = RATE

    def __init__(self, incomplete_after: Sequence[str] = ("and",)) -> None:
        self.incomplete_after = incomplete_after
        self.calls = 0

    def probability(self, pcm: np.ndarray) -> float:
        self.calls += 1
        words = spoken_words(pcm).split()
        return 0.1 if words and words[-1] in self.incomplete_after else 0.9

    def warm_up(self) -> None:
        pass


@dataclass
class FakeResponder:
    """Answers every turn with `reply_words` of 200 ms each, after `first_audio_s`."""

    reply_words: Sequence[str] = ("one", "two", "three", "four", "five")
    word_ms: int = 200
    hear_s: float = 0.05
    first_audio_s: float = 0.15
    per_word_s: float = 0.02
    has_transcript: bool = True
    judges_words: bool = True
    open_words: Sequence[str] = ("and", "is")
    fail_after_words: int | None = None
    conversations: list[FakeConversation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spec = ResponderSpec("fake", RATE, OUT_RATE, self.has_transcript)

    async def warm_up(self) -> None:
        pass

    def open(self, memory: Memory) -> FakeConversation:
        self.conversations.append(FakeConversation(self, memory))
        return self.conversations[-1]

    async def close(self) -> None:
        pass


class FakeConversation:
    def __init__(self, responder: FakeResponder, memory: Memory) -> None:
        self.responder = responder
        self.memory = memory
        self.responses: list[str] = []
        self.finished: list[str] = []
        self.is_closed = False

    async def hear(
        self, turn: UserTurn, options: ReplyOptions, *, weighs: bool = True
    ) -> WordsSoFar | None:
        await asyncio.sleep(self.responder.hear_s)
        words = spoken_words(turn.pcm)
        if not self.responder.has_transcript:
            return None
        if not (weighs and words and self.responder.judges_words):
            return WordsSoFar(words)
        await asyncio.sleep(0.03)
        return WordsSoFar(words, 0.05 if words.split()[-1] in self.responder.open_words else 0.8)

    def prepare(self, options: ReplyOptions) -> None:
        pass

    async def respond(
        self, turn: UserTurn | None, options: ReplyOptions, cancel: CancelToken
    ) -> AsyncGenerator[ReplyPart, None]:
        r = self.responder
        words = self.memory.messages()[-1].content if turn is None else spoken_words(turn.pcm)
        self.responses.append(words)
        if turn is not None:
            await asyncio.sleep(r.hear_s)
            if r.has_transcript:
                yield Reached("asr")
                yield Heard(words)
                if not words:
                    return
        await asyncio.sleep(r.first_audio_s)
        yield Reached("llm_first_token")
        yield Reached("first_chunk")
        for n, text in enumerate(r.reply_words):
            if n == r.fail_after_words:
                raise StageError("llm", "the model died")
            yield Said(text + " ")
            if not options.speaks:
                continue
            if n == 0:
                yield Reached("tts_first_audio")
            yield Sound(np.full(r.word_ms * OUT_RATE // 1000, 0.3, np.float32), text)
            yield Computed(r.per_word_s)
            await asyncio.sleep(r.per_word_s)
        self.finished.append(words)

    async def close(self) -> None:
        self.is_closed = True


async def talk(
    session: TurnSession,
    *pieces: np.ndarray,
    chunk_ms: int = 20,
    on_event: Callable[[Event], None] | None = None,
) -> list[Event]:
    """Speak `pieces` into a session in real (virtual) time; return all events, session closed."""
    events: list[Event] = []

    async def listen() -> None:
        async for event in session.events():
            events.append(event)
            if on_event is not None:
                on_event(event)

    listener = asyncio.create_task(listen())
    await speak_into(session, *pieces, chunk_ms=chunk_ms)
    await session.close()
    await listener
    return events


async def speak_into(session: TurnSession, *pieces: np.ndarray, chunk_ms: int = 20) -> None:
    """Feed `pieces` chunk by chunk, each when its last sample has been spoken."""
    pcm = np.concatenate(pieces)
    size = chunk_ms * RATE // 1000
    began_s = now_s()
    for n, at in enumerate(range(0, len(pcm), size), start=1):
        await asyncio.sleep(max(0.0, began_s + n * chunk_ms / 1000 - now_s()))
        await session.feed(pcm[at : at + size])


class FakeAsr:
    sample_rate = RATE

    def __init__(self) -> None:
        self.calls = 0

    def transcribe(self, pcm: np.ndarray, earlier: Transcript | None = None) -> Transcript:
        self.calls += 1
        return Transcript(spoken_words(pcm))

    def warm_up(self) -> None:
        pass


class FakeLlm:
    """Writes `reply` word by word, or what `script` makes of the messages."""

    def __init__(
        self,
        reply: str = "It is four. Do you need more time?",
        per_token_s: float = 0.01,
        script: Callable[[Sequence[Message]], Sequence[str | ToolRequest]] | None = None,
        fail_after: int | None = None,
    ) -> None:
        self.text, self.per_token_s, self.script = reply, per_token_s, script
        self.fail_after = fail_after
        self.prompts: list[list[Message]] = []
        self.stopped_early = 0

    async def reply(
        self, messages: Sequence[Message], settings: LlmSettings, cancel: CancelToken
    ) -> AsyncGenerator[str | ToolRequest, None]:
        self.prompts.append(list(messages))
        pieces = self.script(messages) if self.script else _tokens(self.text)
        is_whole = False
        try:
            for n, piece in enumerate(pieces):
                if n == self.fail_after:
                    raise StageError("llm", "the language model stopped answering")
                await asyncio.sleep(self.per_token_s)
                if cancel.is_cancelled:
                    return
                yield piece
            is_whole = True
        finally:
            self.stopped_early += not is_whole

    async def end_probability(self, messages: Sequence[Message]) -> float | None:
        return None

    async def warm_up(self, messages: Sequence[Message]) -> None:
        pass

    async def close(self) -> None:
        pass


def _tokens(text: str) -> list[str]:
    words = text.split(" ")
    return [w if n == 0 else " " + w for n, w in enumerate(words)]


class FakeTts:
    """60 ms of sound per letter."""

    sample_rate = OUT_RATE

    def __init__(self, fail_on: str | None = None) -> None:
        self.spoken: list[str] = []
        self.fail_on = fail_on

    def speak(self, text: str, cancel: CancelToken) -> Iterator[SpokenChunk]:
        if self.fail_on is not None and self.fail_on in text:
            raise StageError("tts", "the voice failed")
        self.spoken.append(text)
        yield SpokenChunk(np.full(len(text) * 60 * OUT_RATE // 1000, 0.3, np.float32), text)

    def warm_up(self) -> None:
        pass
