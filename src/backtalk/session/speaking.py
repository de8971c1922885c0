"""A reply being heard: sent in small pieces, no further ahead than allowed, stoppable at any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from backtalk.audio.level import first_audible_sample
from backtalk.session.playout import Playout
from backtalk.session.reply import Reply
from backtalk.session.settings import TurnSettings
from backtalk.stream.clock import now_s
from backtalk.stream.events import (
    Event,
    ReplyAudio,
    ReplyDone,
    ReplyPaused,
    ReplyResumed,
    ReplyText,
    ToolCall,
)
from backtalk.stream.outbox import Outbox


class Speaking:
    """Sends one committed reply and knows how much of it was heard.

    Args:
        reply: what to send; it may still be in the making.
        outbox: where to.
        on_end: called once when it has all been heard, or there was nothing (more) to hear.
    """

    def __init__(
        self,
        reply: Reply,
        outbox: Outbox[Event],
        settings: TurnSettings,
        on_end: Callable[[Speaking], None],
    ) -> None:
        self.reply = reply
        self.playout = Playout(reply.sample_rate)
        self.is_paused = False
        self.barge_in_ms: float | None = None
        self._outbox = outbox
        self._settings = settings
        self._on_end = on_end
        self._texts_sent = self._tools_sent = 0
        self._began_s: float | None = None
        self._audible_sample: int | None = None
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def number(self) -> int:
        """Of the turn it replies to."""
        return self.reply.number

    def changed(self) -> None:
        """There may be more to send."""
        self._wake.set()

    def heard_samples(self) -> int:
        """How much of the reply has been heard by now."""
        return self.playout.heard_samples(now_s())

    def played(self, samples: int) -> None:
        """The listener's report."""
        at_s = now_s()
        self.playout.report(samples, at_s)
        if self._audible_sample is not None and samples > self._audible_sample:
            behind_s = (samples - self._audible_sample) / self.reply.sample_rate
            self.reply.path.reach("transport", at_s - behind_s)
        self._wake.set()

    def pause(self) -> None:
        """Stop being heard, for now: what was sent and not heard is taken back."""
        if self.is_paused:
            return
        self.is_paused = True
        self._outbox.take_back_audio()
        heard = self.playout.rewind(now_s())
        self._outbox.put(ReplyPaused(now_s(), self.number, heard))

    def resume(self) -> None:
        """It was a false interruption: go on from the first sample not heard."""
        if not self.is_paused:
            return
        self.is_paused = False
        self.barge_in_ms = None
        self.playout.resumed(now_s())
        self._outbox.put(ReplyResumed(now_s(), self.number, self.playout.sent_samples))
        self._wake.set()

    def stop(self) -> int:
        """End it here for good. Returns the samples heard."""
        self.reply.cancel()
        self._task.cancel()
        self._outbox.take_back_audio()
        return self.playout.sent_samples if self.is_paused else self.playout.rewind(now_s())

    async def _run(self) -> None:
        piece = max(1, self._settings.piece_ms * self.reply.sample_rate // 1000)
        done_at: int | None = None
        while True:
            self._wake.clear()
            self._send_words()
            if self.is_paused:
                await self._sleep(self._settings.max_pause_ms / 1000)
                if not self._wake.is_set():
                    self.resume()
                continue
            pcm = self.reply.audio(self.playout.sent_samples, piece)
            if len(pcm):
                ahead_s = self.playout.unplayed_s(now_s()) - self._settings.max_unplayed_ms / 1000
                if ahead_s >= 0:
                    await self._sleep(ahead_s + piece / self.reply.sample_rate)
                    continue
                self._mark_first_audio(self.playout.sent_samples)
                event = ReplyAudio(now_s(), self.number, self.playout.sent_samples, pcm)
                self.playout.sent(len(pcm), now_s())
                await self._outbox.put_audio(event)
            elif not self.reply.is_made:
                await self._wake.wait()
            else:
                if done_at != self.playout.sent_samples:
                    done_at = self.playout.sent_samples
                    error = None if self.reply.error is None else str(self.reply.error)
                    self._outbox.put(ReplyDone(now_s(), self.number, done_at, error))
                unplayed_s = self.playout.unplayed_s(now_s())
                if unplayed_s <= 0.5 / self.reply.sample_rate:
                    break
                await self._sleep(unplayed_s)
        self._on_end(self)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or less if something changes."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _send_words(self) -> None:
        for text in self.reply.said[self._texts_sent :]:
            self._outbox.put(ReplyText(now_s(), self.number, text))
        self._texts_sent = len(self.reply.said)
        for tool in self.reply.tools[self._tools_sent :]:
            self._outbox.put(
                ToolCall(now_s(), self.number, tool.call_id, tool.name, tool.arguments)
            )
        self._tools_sent = len(self.reply.tools)

    def _mark_first_audio(self, at_sample: int) -> None:
        if self._began_s is None:
            self._began_s = now_s()
            self.reply.path.reach("hold", self._began_s)
        if self._audible_sample is None:
            rate = self.reply.sample_rate
            audible = first_audible_sample(self.reply.audio(at_sample, rate), rate)
            if audible is not None:
                self._audible_sample = at_sample + audible
                # Sent pieces are played one after the other from the first one on.
                self.reply.path.reach("leading_silence", now_s() + audible / rate)
