"""Any responder with another voice: its replies go through a converter before they are heard.

The converter's row lives as long as a reply, so that a reply begins as if nothing had been said
before it and one that is thrown away leaves nothing behind.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from backtalk.session.converted_sound import ConvertedSound, in_slices
from backtalk.session.converter import Converter
from backtalk.session.converter_stream import ConverterStream
from backtalk.session.memory import Memory
from backtalk.session.responder import (
    Computed,
    Conversation,
    Reached,
    ReplyOptions,
    ReplyPart,
    Responder,
    Sound,
    UserTurn,
    WordsSoFar,
)
from backtalk.stream.cancel import CancelToken
from backtalk.stream.worker import ModelWorker

WARM_UP_MS = 400


class ConvertedResponder:
    """A responder whose replies are said in a converter's voice, at the converter's sample rate.

    Args:
        responder: whose replies; it is this one's own from here on.
        converter: gives them another voice, `lookahead_samples` and at most a frame later.
    """

    def __init__(self, responder: Responder, converter: Converter) -> None:
        self._responder, self._converter = responder, converter
        self._worker = ModelWorker("voice-conversion")
        voice = str(getattr(converter, "description", converter.spec.name))
        self.spec = replace(
            responder.spec,
            sample_rate_out=converter.spec.sample_rate,
            details={**responder.spec.details, "voice_conversion": voice},
        )

    async def warm_up(self) -> None:
        """The responder's own, and a conversion of silence."""
        await self._responder.warm_up()
        silence = np.zeros(WARM_UP_MS * self._responder.spec.sample_rate_out // 1000, np.float32)
        await self._worker.run(lambda: self._new_sound().push(Sound(silence)))

    def open(self, memory: Memory) -> ConvertedConversation:
        """A new conversation that reads `memory`."""
        conversation = self._responder.open(memory)
        return ConvertedConversation(
            conversation, self._new_sound, self._worker, self._responder.spec.sample_rate_out
        )

    async def close(self) -> None:
        """Free the models. Safe to call twice."""
        self._worker.close()
        await self._responder.close()

    def _new_sound(self) -> ConvertedSound:
        rate_in, rate_out = self._responder.spec.sample_rate_out, self.spec.sample_rate_out
        return ConvertedSound(ConverterStream(self._converter, rate_in, rate_out))


class ConvertedConversation:
    """One session's slot: the responder's, with converted replies.

    Args:
        conversation: the responder's.
        new_sound: takes a row for a reply; called on the worker's thread.
        worker: the converter's thread.
        sample_rate: Hz of what the responder says.
    """

    def __init__(
        self,
        conversation: Conversation,
        new_sound: Callable[[], ConvertedSound],
        worker: ModelWorker,
        sample_rate: int,
    ) -> None:
        self._conversation, self._new_sound, self._worker = conversation, new_sound, worker
        self._sample_rate = sample_rate

    async def hear(
        self, turn: UserTurn, options: ReplyOptions, *, weighs: bool = True
    ) -> WordsSoFar | None:
        """The responder's."""
        return await self._conversation.hear(turn, options, weighs=weighs)

    def prepare(self, options: ReplyOptions) -> None:
        """The responder's."""
        self._conversation.prepare(options)

    async def respond(
        self, turn: UserTurn | None, options: ReplyOptions, cancel: CancelToken
    ) -> AsyncGenerator[ReplyPart, None]:
        """The responder's reply, its sound converted; everything else passes at once."""
        sound: ConvertedSound | None = None
        parts = self._conversation.respond(turn, options, cancel)
        async with aclosing(parts):
            async for part in parts:
                if not isinstance(part, Sound):
                    yield part
                    continue
                if sound is None:
                    sound = await self._worker.run(self._new_sound)
                for piece in in_slices(part, self._sample_rate):
                    for converted in await self._run(sound.push, piece):
                        yield converted
        if sound is not None:
            for converted in await self._run(sound.flush):
                yield converted

    async def close(self) -> None:
        """Give the slot back. Safe to call twice."""
        await self._conversation.close()

    async def _run(self, call: Callable[..., list[Sound]], *args: Sound) -> list[ReplyPart]:
        """Convert on the thread; what came of it, and what it cost."""

        def timed() -> tuple[list[Sound], float]:
            began_s = time.perf_counter()
            return call(*args), time.perf_counter() - began_s

        sounds, compute_s = await self._worker.run(timed)
        reached = [Reached("voice_conversion")] if sounds else []
        return [*reached, *sounds, Computed(compute_s)]
