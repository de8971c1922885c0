"""The cascade: recognise the turn, write a reply, cut it into chunks, speak them, all at once.

i-LAVA (arXiv 2509.20971) is this pipeline with CSM-1B as its voice; the default here uses models
small enough for two CPU cores. Each model runs on a thread of its own, so that the language model
writes the next chunk while this one is being spoken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from backtalk.cascade.plugins import find
from backtalk.cascade.prompt import SPOKEN_STYLE_PROMPT
from backtalk.cascade.protocols import (
    Asr,
    Llm,
    LlmSettings,
    Segmenter,
    ToolRequest,
    Transcript,
    Tts,
)
from backtalk.cascade.speakable import speakable
from backtalk.cascade.speakable import warm_up as warm_up_speakable
from backtalk.errors import BacktalkError, StageError
from backtalk.models.store import ModelStore
from backtalk.session.memory import Memory, Message, memory_of
from backtalk.session.responder import (
    Computed,
    Heard,
    Reached,
    ReplyOptions,
    ReplyPart,
    ResponderSpec,
    Said,
    Sound,
    ToolAsked,
    UserTurn,
    WordsSoFar,
)
from backtalk.stream.cancel import CancelToken
from backtalk.stream.worker import ModelWorker

T = TypeVar("T")

DEFAULT_TTS = "hibari"

PIECES_AHEAD = 64
"""Pieces of text the language model may be ahead of the voice."""

EARLY_FIRST_CHUNK = {"first_min_words": 3, "first_max_words": 5}
"""Segmenter options: each word less in the first chunk is about 12 ms less to wait for it."""

WARM_UP_QUESTION = "Hello, can you hear me?"


class Cascade:
    """A turn-based system made of a recogniser, a language model and a voice.

    Args:
        asr, llm, tts: the stages; they are this cascade's own from here on.
        new_segmenter: makes the segmenter of one reply.
        system_prompt: how the language model is told to talk.
        llm_settings: length, temperature, tools.
        name: id in reports.
    """

    def __init__(
        self,
        asr: Asr,
        llm: Llm,
        tts: Tts,
        new_segmenter: Callable[[], Segmenter],
        *,
        system_prompt: str = SPOKEN_STYLE_PROMPT,
        llm_settings: LlmSettings | None = None,
        name: str = "cascade",
    ) -> None:
        self.spec = ResponderSpec(
            name=name,
            sample_rate_in=asr.sample_rate,
            sample_rate_out=tts.sample_rate,
            has_transcript=True,
            details={"asr": _describe(asr), "llm": _describe(llm), "tts": _describe(tts)},
        )
        self.asr, self.llm, self.tts = asr, llm, tts
        self.new_segmenter = new_segmenter
        self.system_prompt = system_prompt
        self.llm_settings = llm_settings or LlmSettings()
        self.asr_worker = ModelWorker("asr")
        self.tts_worker = ModelWorker("tts")

    async def warm_up(self) -> None:
        """Two whole replies to a question of its own making, unheard."""
        await self.asr_worker.run(self.asr.warm_up)
        await self.tts_worker.run(self.tts.warm_up)
        await self.tts_worker.run(warm_up_speakable)
        await self.llm.warm_up([Message("system", self.system_prompt)])
        for _ in range(2):
            conversation = self.open(memory_of([Message("user", WARM_UP_QUESTION)]))
            async for _part in conversation.respond(None, ReplyOptions(), CancelToken()):
                pass
            await conversation.close()

    def open(self, memory: Memory) -> CascadeConversation:
        """A new conversation that reads `memory`."""
        return CascadeConversation(self, memory)

    async def close(self) -> None:
        """Free the models. Safe to call twice."""
        self.asr_worker.close()
        self.tts_worker.close()
        await self.llm.close()


def _describe(stage: Any) -> str:
    return str(getattr(stage, "description", type(stage).__name__))


@dataclass
class _Hearing:
    """One recognition: of which audio, its result and what the language model makes of it."""

    key: tuple[int, int]
    words: asyncio.Future[Transcript]
    weight: asyncio.Future[float | None] | None = None


class CascadeConversation:
    """One session's slot in a cascade: what was recognised of the open turn."""

    def __init__(self, cascade: Cascade, memory: Memory) -> None:
        self._cascade = cascade
        self._memory = memory
        self._is_replying = False
        self._hearing: _Hearing | None = None
        self._weighing: asyncio.Future[float | None] | None = None
        self._work: set[asyncio.Future[Any]] = set()
        self._earlier: tuple[int, Transcript] | None = None

    async def hear(
        self, turn: UserTurn, options: ReplyOptions, *, weighs: bool = True
    ) -> WordsSoFar | None:
        """The words of the turn so far, and whether the language model would end them there."""
        hearing = self._hear(turn)
        text = (await asyncio.shield(hearing.words)).text
        if text and weighs:
            return WordsSoFar(text, await self._weigh(hearing, text, options))
        if text and not self._is_replying and not self._is_weighing:
            # Not to know it, but to have the language model read these words while more are said.
            self._begin_weighing(hearing, text, options)
        return WordsSoFar(text)

    def _hear(self, turn: UserTurn) -> _Hearing:
        """Recognise each stretch of speech once, whoever asks and however often."""
        key = (turn.number, turn.speech_samples)
        if self._hearing is None or self._hearing.key != key:
            self._hearing = _Hearing(key, self._start(self._transcribe(turn)))
        return self._hearing

    async def _transcribe(self, turn: UserTurn) -> Transcript:
        number, earlier = self._earlier or (0, None)
        known = earlier if number == turn.number else None
        asr = self._cascade.asr
        transcript = await self._cascade.asr_worker.run(asr.transcribe, turn.pcm, known)
        self._earlier = (turn.number, transcript)
        return transcript

    async def _weigh(self, hearing: _Hearing, text: str, options: ReplyOptions) -> float | None:
        return await asyncio.shield(hearing.weight or self._begin_weighing(hearing, text, options))

    def _begin_weighing(
        self, hearing: _Hearing, text: str, options: ReplyOptions
    ) -> asyncio.Future[float | None]:
        work = self._cascade.llm.end_probability(self._prompt(text, options))
        hearing.weight = self._weighing = self._start(work)
        return hearing.weight

    @property
    def _is_weighing(self) -> bool:
        return self._weighing is not None and not self._weighing.done()

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Work that goes on even if the caller that first asked for it has gone."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def prepare(self, options: ReplyOptions) -> None:
        """Let the language model read new instructions before the first turn needs them."""
        self._start(self._read(self._prompt("Hello", options)))

    async def _read(self, prompt: list[Message]) -> None:
        with suppress(BacktalkError):  # the turn that needs it will say what is wrong
            await self._cascade.llm.end_probability(prompt)

    async def respond(
        self, turn: UserTurn | None, options: ReplyOptions, cancel: CancelToken
    ) -> AsyncGenerator[ReplyPart, None]:
        """Recognise, write and speak; see `Conversation.respond`."""
        text = None
        if turn is not None:
            began_s = time.perf_counter()
            hearing = self._hear(turn)
            text = (await asyncio.shield(hearing.words)).text
            yield Computed(time.perf_counter() - began_s)
            yield Reached("asr")
            yield Heard(text)
            if not text:
                return
            # The weighing reads most of the reply's prompt and must not queue behind the reply.
            await self._weigh(hearing, text, options)
        self._is_replying = True
        try:
            async with aclosing(self._reply_to(text, options, cancel)) as parts:
                async for part in parts:
                    yield part
        finally:
            self._is_replying = False

    async def _reply_to(
        self, text: str | None, options: ReplyOptions, cancel: CancelToken
    ) -> AsyncGenerator[ReplyPart, None]:
        """Write and speak a reply to a text, or to the memory as it is."""
        # The writer runs ahead of the voice by a bounded number of chunks.
        chunks: asyncio.Queue[ReplyPart | str | None] = asyncio.Queue(PIECES_AHEAD)

        async def write() -> None:
            try:
                await self._write(text, options, cancel, chunks)
            except Exception:
                await chunks.put(None)
                raise
            await chunks.put(None)

        writer = asyncio.create_task(write())
        try:
            is_first, has_tools = True, False
            while (item := await chunks.get()) is not None:
                if not isinstance(item, str):
                    has_tools = has_tools or isinstance(item, ToolAsked)
                    yield item
                    continue
                async with aclosing(self._speak(item, cancel)) as parts:
                    async for part in parts:
                        if isinstance(part, Sound) and is_first:
                            is_first = False
                            yield Reached("tts_first_audio")
                        yield part
            await writer  # raises what the writer raised
            is_silent = is_first and options.speaks and not has_tools
            if is_silent and not cancel.is_cancelled:
                raise StageError(
                    "llm",
                    f"{_describe(self._cascade.llm)} wrote a reply with nothing in it that can be "
                    "spoken; ask again, or use a better model",
                )
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(
        self,
        text: str | None,
        options: ReplyOptions,
        cancel: CancelToken,
        chunks: asyncio.Queue[ReplyPart | str | None],
    ) -> None:
        """Run the language model; pass on what it writes, and what of it can be spoken now."""
        segmenter = self._cascade.new_segmenter()
        seen_token = seen_chunk = False

        async def pass_on(ready: list[str]) -> None:
            nonlocal seen_chunk
            for chunk in ready if options.speaks else []:
                if not seen_chunk:
                    seen_chunk = True
                    await chunks.put(Reached("first_chunk"))
                await chunks.put(chunk)

        began_s = time.perf_counter()
        settings = self._llm_settings(options)
        prompt = self._prompt(text, options)
        async with aclosing(self._cascade.llm.reply(prompt, settings, cancel)) as pieces:
            async for piece in pieces:
                if isinstance(piece, ToolRequest):
                    await chunks.put(ToolAsked(piece.call_id, piece.name, piece.arguments))
                    continue
                if not seen_token:
                    seen_token = True
                    await chunks.put(Reached("llm_first_token"))
                await chunks.put(Said(piece))
                await pass_on(segmenter.push(piece))
        await chunks.put(Computed(time.perf_counter() - began_s))
        await pass_on(segmenter.flush())

    def _llm_settings(self, options: ReplyOptions) -> LlmSettings:
        own = self._cascade.llm_settings
        return LlmSettings(
            own.max_tokens if options.max_tokens is None else options.max_tokens,
            own.temperature if options.temperature is None else options.temperature,
            options.tools or own.tools,
            options.tool_choice if options.tools else own.tool_choice,
        )

    def _prompt(self, text: str | None, options: ReplyOptions) -> list[Message]:
        system = self._cascade.system_prompt
        if options.instructions:
            style = f"\n\n{system}" if options.speaks else ""
            system = options.instructions + style
        said = [Message("user", text)] if text is not None else []
        return [Message("system", system), *self._memory.messages(), *said]

    async def _speak(self, chunk: str, cancel: CancelToken) -> AsyncGenerator[ReplyPart, None]:
        text = speakable(chunk)
        if not text:
            return
        cascade, compute_s = self._cascade, 0.0
        began_s = time.perf_counter()
        speak = cascade.tts_worker.stream(lambda token: cascade.tts.speak(text, token), cancel)
        async with aclosing(speak) as pieces:
            async for spoken in pieces:
                compute_s += time.perf_counter() - began_s
                yield Sound(spoken.pcm, spoken.text)
                began_s = time.perf_counter()
        yield Computed(compute_s)

    async def close(self) -> None:
        """Nothing is left running for this conversation. Safe to call twice."""
        work = list(self._work)
        for future in work:
            future.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def build_cascade(
    store: ModelStore,
    *,
    asr: str = "whisper",
    llm: str = "llama",
    tts: str = DEFAULT_TTS,
    segmenter: str = "clauses",
    segmenter_options: dict[str, Any] | None = None,
    asr_options: dict[str, Any] | None = None,
    llm_options: dict[str, Any] | None = None,
    tts_options: dict[str, Any] | None = None,
    system_prompt: str = SPOKEN_STYLE_PROMPT,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> Cascade:
    """Build the cascade from plug-ins by name.

    Args:
        store: where model files are.
        asr, llm, tts, segmenter: names of installed plug-ins.
        asr_options, llm_options, tts_options, segmenter_options: passed to their builders; the
            default segmenter is asked for an early first chunk unless told otherwise.
        system_prompt: how the language model is told to talk.
        max_tokens, temperature: of replies; None keeps the defaults.
    Raises:
        ConfigError: unknown plug-in or option.
        ModelError: a model file is missing; says which command fetches it.
    """
    new_segmenter = find("backtalk.segmenter", segmenter)
    if segmenter_options is None:
        segmenter_settings = EARLY_FIRST_CHUNK if segmenter == "clauses" else {}
    else:
        segmenter_settings = segmenter_options
    settings = LlmSettings()
    if max_tokens is not None:
        settings = replace(settings, max_tokens=max_tokens)
    if temperature is not None:
        settings = replace(settings, temperature=temperature)
    return Cascade(
        find("backtalk.asr", asr)(store, **(asr_options or {})),
        find("backtalk.llm", llm)(store, **(llm_options or {})),
        find("backtalk.tts", tts)(store, **(tts_options or {})),
        lambda: new_segmenter(store, **segmenter_settings),
        system_prompt=system_prompt,
        llm_settings=settings,
    )
