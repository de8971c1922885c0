"""One reply in the making: started early, kept behind a gate, then heard or thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from backtalk.errors import BacktalkError, StageError
from backtalk.latency.record import CriticalPath
from backtalk.session.memory import SpokenText, new_entry_id
from backtalk.session.responder import (
    Computed,
    Conversation,
    Heard,
    Reached,
    ReplyOptions,
    ReplyPart,
    Said,
    Sound,
    ToolAsked,
    UserTurn,
)
from backtalk.stream.cancel import CancelToken
from backtalk.stream.clock import now_s


@dataclass(eq=False)
class Reply:
    """What has been made of a reply so far.

    Making it begins at once, in a task of its own, and runs ahead of what was taken by at most
    `max_ready_s` of audio. `on_change` is called after every part.

    Attributes:
        number: of the turn it belongs to.
        turn: what it replies to, None if that is in the memory.
        options: what was asked of it.
        after: what must be done before it is begun: the words it replies to are being recognised.
        item_id: of its entry in the memory, should it get there.
        transcript: the words heard, None until (or unless) the system gives them.
        said: the reply's text so far.
        tools: tool requests so far, the first `tools_remembered` of them in the memory.
        is_made: all of it is there, or it failed.
        error: why it failed.
        path: marks of the latency clock.
        compute_s: seconds its stages have computed.
        produced_samples: audio made so far.
    """

    number: int
    turn: UserTurn | None
    options: ReplyOptions
    conversation: Conversation
    sample_rate: int
    max_ready_s: float
    on_change: Callable[[Reply], None]
    after: asyncio.Future[None] | None = None
    item_id: str = field(default_factory=new_entry_id)
    transcript: str | None = None
    said: list[str] = field(default_factory=list)
    tools: list[ToolAsked] = field(default_factory=list)
    tools_remembered: int = 0
    is_made: bool = False
    error: BacktalkError | None = None
    path: CriticalPath = field(default_factory=CriticalPath)
    compute_s: float = 0.0
    produced_samples: int = 0

    def __post_init__(self) -> None:
        self._sounds: list[tuple[int, Sound]] = []
        self._taken_samples = 0
        self._room = asyncio.Event()
        self._cancel = CancelToken()
        self._made_at_s: list[float] = []
        self.path.reach("end_of_turn_wait", now_s())
        self._task = asyncio.create_task(self._make())

    @property
    def is_cancelled(self) -> bool:
        """True once thrown away or cut."""
        return self._cancel.is_cancelled

    def cancel(self) -> None:
        """Stop every stage that works on it. Safe to call twice."""
        self._cancel.cancel()
        self._task.cancel()

    def when_ended(self, callback: Callable[[Reply], None]) -> None:
        """Call back once nothing works on it any more, made, failed or cancelled."""
        self._task.add_done_callback(lambda _: callback(self))

    async def closed(self) -> None:
        """Wait until its task has ended."""
        await asyncio.gather(self._task, return_exceptions=True)

    async def _make(self) -> None:
        try:
            if self.after is not None:
                await asyncio.wait([self.after])
            parts = self.conversation.respond(self.turn, self.options, self._cancel)
            async with aclosing(parts):
                async for part in parts:
                    self._take_in(part)
                    self.on_change(self)
                    while self._ready_s() > self.max_ready_s:
                        self._room.clear()
                        await self._room.wait()
        except BacktalkError as error:
            self.error = error
        except Exception as error:  # a plug-in's bug must cost one reply, not the session
            self.error = StageError("system", f"the reply failed: {type(error).__name__}: {error}")
        self.is_made = True
        self.on_change(self)

    def _ready_s(self) -> float:
        return (self.produced_samples - self._taken_samples) / self.sample_rate

    def _take_in(self, part: ReplyPart) -> None:
        match part:
            case Heard(text):
                self.transcript = text
            case Said(text):
                self.said.append(text)
            case Sound():
                if len(part.pcm):
                    self._sounds.append((self.produced_samples, part))
                    self.produced_samples += len(part.pcm)
                    self._made_at_s.append(now_s())
            case Reached(stage):
                self.path.reach(stage, now_s())
            case Computed(seconds):
                self.compute_s += seconds
            case ToolAsked():
                self.tools.append(part)

    def audio(self, start: int, samples: int) -> np.ndarray:
        """Up to `samples` samples from `start` on, as far as they have been made.

        Returns:
            float32 [T], empty if there are none yet.
        """
        self._taken_samples = max(self._taken_samples, start)
        self._room.set()
        for at, sound in reversed(self._sounds):
            if at <= start < at + len(sound.pcm):
                return sound.pcm[start - at : start - at + samples]
        return np.zeros(0, np.float32)

    def text(self) -> str:
        """All that was written so far."""
        return "".join(self.said).strip()

    def spoken(self) -> SpokenText:
        """Which words are where in the sound made so far."""
        spans = tuple((at, sound.text) for at, sound in self._sounds if sound.text.strip())
        return SpokenText(spans, self.produced_samples)

    def gap_p95_ms(self) -> float | None:
        """95th percentile of the time between pieces of audio being ready."""
        made = self._made_at_s
        gaps = sorted(1000.0 * (b - a) for a, b in zip(made, made[1:], strict=False))
        return gaps[int(0.95 * (len(gaps) - 1))] if gaps else None
