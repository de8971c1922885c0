"""The agent's side of a session: replies in the making, heard, and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from backtalk.latency.record import TurnLatency
from backtalk.session.endpoint import EndEvidence
from backtalk.session.memory import (
    Entry,
    Memory,
    Message,
    memory_of,
    new_entry_id,
    tool_call_json,
)
from backtalk.session.reply import Reply
from backtalk.session.responder import Conversation, ReplyOptions, Responder, UserTurn
from backtalk.session.settings import TurnSettings
from backtalk.session.speaking import Speaking
from backtalk.stream.clock import now_s
from backtalk.stream.events import (
    Event,
    ReplyInterrupted,
    ReplyStarted,
    SessionError,
    TurnDiscarded,
    TurnMeasured,
)
from backtalk.stream.outbox import Outbox


class Replies:
    """Makes replies, lets one be heard at a time, and writes into the memory what became of them.

    Attributes:
        memory: the conversation so far.
        options: what replies are asked for from now on.
        conversation: the session's slot in the system.
        speaking: the reply that is being heard.
        words_pending: recognition of the last turn, for which replies wait.

    Args:
        on_change: told of every part made of a reply that is not being heard.
        on_quiet: called when nothing is being heard any more.
    """

    def __init__(
        self,
        responder: Responder,
        outbox: Outbox[Event],
        settings: TurnSettings,
        on_change: Callable[[], None],
        on_quiet: Callable[[], None],
    ) -> None:
        self.memory = Memory()
        self.options = ReplyOptions()
        self.conversation = responder.open(self.memory)
        self.speaking: Speaking | None = None
        self.words_pending: asyncio.Future[None] | None = None
        self.settings = settings
        self._responder = responder
        self._outbox = outbox
        self._on_change, self._on_quiet = on_change, on_quiet
        self._waiting: Reply | None = None
        self._all: set[Reply] = set()
        self._aside: set[Conversation] = set()
        self._unanswered_tools: set[str] = set()
        self._zero_s = 0.0
        self._speculations, self._evidence = 0, EndEvidence()

    @property
    def under_way(self) -> list[str]:
        """Ids of the replies that are heard or wait for that."""
        heard = [] if self.speaking is None else [self.speaking.reply.item_id]
        return heard if self._waiting is None else [*heard, self._waiting.item_id]

    def begin(
        self,
        number: int,
        turn: UserTurn | None,
        options: ReplyOptions | None = None,
        conversation: Conversation | None = None,
    ) -> Reply:
        """Begin a reply, unheard: to a turn, or to the memory as it is."""
        reply = Reply(
            number,
            turn,
            options or self.options,
            conversation or self.conversation,
            self._responder.spec.sample_rate_out,
            self.settings.max_ready_ms / 1000,
            self._changed,
            after=self.words_pending,
        )
        self._all.add(reply)
        reply.when_ended(self._all.discard)
        return reply

    def ask(
        self,
        number: int,
        turn: UserTurn | None,
        options: ReplyOptions | None,
        context: Sequence[Message] | None,
    ) -> Reply:
        """Make a reply because the client wants one, heard behind the present one."""
        conversation = None
        if context is not None:
            conversation = self._responder.open(memory_of(context))
            self._aside.add(conversation)
        reply = self.begin(number, turn, options, conversation)
        if self.speaking is None:
            self.speak(reply, now_s(), 0, EndEvidence())
        else:
            self._waiting = reply
        return reply

    def speak(self, reply: Reply, zero_s: float, speculations: int, evidence: EndEvidence) -> None:
        """Let a reply be heard: from here on it is part of the conversation.

        Args:
            zero_s: session time of the last sample of user speech.
            speculations, evidence: how the turn before it ended, for its record.
        """
        self._zero_s, self._speculations, self._evidence = zero_s, speculations, evidence
        self.memory.add(Entry(reply.item_id, Message("assistant", "")))
        self._outbox.put(ReplyStarted(now_s(), reply.number, reply.item_id))
        self._remember_what_is_made(reply)
        self.speaking = Speaking(reply, self._outbox, self.settings, self._on_heard)

    def cut(self, *, forgotten: Sequence[str | None] = (), reopened: bool = False) -> None:
        """End what is being heard before its end, for good, and whatever was to follow.

        Args:
            forgotten: entries of the memory that are not part of the conversation after all.
            reopened: it was a reply to half a turn.
        """
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        speaking, self.speaking = self.speaking, None
        if speaking is None:
            return
        heard, reply = speaking.stop(), speaking.reply
        text = reply.spoken().until(heard) if reply.options.speaks else reply.text()
        self._remember(reply, text)
        for item_id in forgotten:
            if item_id is not None and self.memory.get(item_id) is not None:
                self.memory.remove(item_id)
        if reopened and self.memory.get(reply.item_id) is not None:
            self.memory.remove(reply.item_id)
        elif not reopened:
            self._measure(speaking)
        self._outbox.put(ReplyInterrupted(now_s(), speaking.number, heard, text, reopened))

    def truncate(self, item_id: str, samples: int) -> None:
        """The listener says how much of a reply was heard; the memory keeps only that.

        Raises:
            KeyError: no such reply, or it has no sound.
        """
        if self.speaking is not None and self.speaking.reply.item_id == item_id:
            self.speaking.played(samples)
            self.cut()
        entry = self.memory.get(item_id)
        if entry is None or entry.spoken is None:
            raise KeyError(item_id)
        entry.say(entry.spoken.until(samples))

    def tool_result(self, call_id: str, output: str) -> bool:
        """Remember a tool's answer; one that nobody waits for is dropped.

        Returns:
            True if it was the last one missing.
        """
        if call_id not in self._unanswered_tools:
            return False
        self._unanswered_tools.discard(call_id)
        message = Message("tool", output, tool_call_id=call_id)
        self.memory.add(Entry(new_entry_id(), message))
        return not self._unanswered_tools

    async def close(self) -> None:
        """Stop every reply and give the slot back."""
        if self.speaking is not None:
            self.speaking.stop()
        for reply in self._all:
            reply.cancel()
        await asyncio.gather(*[reply.closed() for reply in self._all])
        for conversation in [self.conversation, *self._aside]:
            await conversation.close()

    def _changed(self, reply: Reply) -> None:
        if self.speaking is not None and self.speaking.reply is reply:
            self._remember_what_is_made(reply)
            self.speaking.changed()
        else:
            self._on_change()

    def _on_heard(self, speaking: Speaking) -> None:
        self.speaking = None
        reply = speaking.reply
        if reply.error is not None:
            stage = getattr(reply.error, "stage", "system")
            self._outbox.put(SessionError(now_s(), stage, str(reply.error)))
        if reply.transcript == "":
            self._outbox.put(TurnDiscarded(now_s(), speaking.number, "noise"))
        else:
            # A whole reply is remembered as it was written: the language model's prompt cache
            # then knows it.
            spoken = reply.spoken().until(reply.produced_samples)
            self._remember(reply, reply.text() if reply.error is None else spoken)
            self._measure(speaking)
            if reply.error is not None and not reply.produced_samples:
                self._outbox.put(TurnDiscarded(now_s(), speaking.number, "failed"))
        if self._waiting is not None:
            reply, self._waiting = self._waiting, None
            self.speak(reply, now_s(), 0, EndEvidence())
        else:
            self._on_quiet()

    def _remember(self, reply: Reply, text: str) -> None:
        entry = self.memory.get(reply.item_id)
        if entry is not None:
            entry.say(text)
            entry.spoken = reply.spoken()

    def _remember_what_is_made(self, reply: Reply) -> None:
        """Not when it has been heard: a client may answer a tool, or ask on, at once."""
        if reply.is_made:
            self._remember(reply, reply.text())
        for n in range(reply.tools_remembered, len(reply.tools)):
            tool = reply.tools[n]
            if self.memory.get(tool.call_id) is not None:
                # Models that count their calls begin again with every reply.
                tool = reply.tools[n] = replace(tool, call_id=new_entry_id())
            if self.memory.get(reply.item_id):
                self._unanswered_tools.add(tool.call_id)
                call = tool_call_json(tool.call_id, tool.name, tool.arguments)
                self.memory.add(Entry(tool.call_id, Message("assistant", "", (call,))))
        reply.tools_remembered = len(reply.tools)

    def _measure(self, speaking: Speaking) -> None:
        reply = speaking.reply
        stages_ms = reply.path.stages_ms(self._zero_s)
        is_audible = "leading_silence" in stages_ms
        latency = TurnLatency(
            stages_ms=stages_ms,
            ttfa_ms=sum(stages_ms.values()) if is_audible else None,
            compute_s=reply.compute_s,
            audio_s=reply.produced_samples / reply.sample_rate,
            underruns=speaking.playout.underruns,
            gap_p95_ms=reply.gap_p95_ms(),
            barge_in_ms=speaking.barge_in_ms,
            speculations=self._speculations,
            end_by_sound=self._evidence.sound,
            end_by_words=self._evidence.words,
        )
        self._outbox.put(TurnMeasured(now_s(), speaking.number, latency))
