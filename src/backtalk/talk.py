"""A conversation with a session: recorded questions or a live microphone on one side.

The recorded user is a person with a good sense of time: it speaks a question, hears the reply
out, waits a moment and speaks the next one, or cuts in where it was told to. Between questions it
sends silence, as a microphone would. Its listener is a loudspeaker on the session's clock, so
that a conversation can be held faster than real time (`clock.VirtualTimeLoop`) and still be
written down on its true time line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from backtalk.audio.device import Microphone, Speaker
from backtalk.audio.files import Audio
from backtalk.audio.level import first_audible_sample, last_audible_sample
from backtalk.audio.recorder import ConversationRecorder
from backtalk.audio.resample import StreamingResampler, resample
from backtalk.latency.record import TurnLatency
from backtalk.session.session import Session
from backtalk.stream.clock import now_s
from backtalk.stream.events import (
    Event,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    ReplyPaused,
    ReplyText,
    SessionError,
    TurnDiscarded,
    TurnMeasured,
    UserSpeechStarted,
    UserTranscript,
)

CHUNK_MS = 20
GAP_MS = 600
"""Silence the recorded user leaves after a reply."""
UNHEARD_S = 3.0
"""How long it waits for any sign of having been heard."""
UNANSWERED_S = 30.0
"""How long it waits for a reply to begin, or to go on."""


@dataclass(frozen=True, slots=True)
class Question:
    """One recording the user plays.

    Attributes:
        name: shown in reports.
        audio: what is said.
        cuts_in_ms: None to wait for the reply before it to end; else it starts this long after
            that reply became audible.
    """

    name: str
    audio: Audio
    cuts_in_ms: float | None = None


@dataclass(slots=True)
class Exchange:
    """One question and what came of it.

    Attributes:
        question: name of the recording, or of the turn in a live conversation.
        transcript: what the user was heard to say.
        reply: the reply's text as far as it was heard.
        latency: the session's record, None if there was no reply.
        ttfa_ms: last audible sample of the question to first audible sample of the reply,
            measured in the recording of the conversation; None in a live conversation or if
            there was no reply.
        was_cut: the agent was heard while the question was still being spoken.
        was_interrupted: the user cut the reply short.
        errors: what went wrong, one line each.
        loop_cpu_ms: processor time of the event loop's thread from the last audible sample of the
            question to the first audible one of the reply: what the pipeline itself costs, its
            VAD included, its other models not.
    """

    question: str
    transcript: str = ""
    reply: str = ""
    latency: TurnLatency | None = None
    ttfa_ms: float | None = None
    was_cut: bool = False
    was_interrupted: bool = False
    errors: list[str] = field(default_factory=list)
    loop_cpu_ms: float | None = None
    started_s: float = 0.0
    speech_end_s: float = 0.0

    def stages_ms(self) -> dict[str, float]:
        """Additive stages of `ttfa_ms`.

        The session's clock starts where its VAD heard the last word; the difference from the
        last audible sample of the recording belongs to the wait for the end of the turn.
        """
        if self.latency is None:
            return {}
        stages = dict(self.latency.stages_ms)
        if self.ttfa_ms is not None and "end_of_turn_wait" in stages:
            stages["end_of_turn_wait"] += self.ttfa_ms - sum(stages.values())
        return stages


class _Loudspeaker:
    """Plays what the session sends, at once and without gaps, on the session's clock."""

    def __init__(self, recorder: ConversationRecorder, sample_rate: int) -> None:
        self._recorder = recorder
        self._sample_rate = sample_rate
        self._free_at_s = 0.0

    def play(self, pcm: np.ndarray) -> float:
        """Queue audio; returns when its first sample sounds."""
        at_s = max(self._free_at_s, now_s())
        self._recorder.agent(at_s, pcm, self._sample_rate)
        self._free_at_s = at_s + len(pcm) / self._sample_rate
        return at_s

    def drop(self) -> None:
        """Fall silent at once."""
        self._recorder.truncate_agent(now_s())
        self._free_at_s = now_s()


class RecordedConversation:
    """Holds a conversation from recordings.

    Args:
        session: fresh, with any system behind it.
        recorder: where both sides are written down.
        on_event: told of every event, to show progress.
    """

    def __init__(
        self,
        session: Session,
        recorder: ConversationRecorder,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._session = session
        self._recorder = recorder
        self._on_event = on_event or (lambda event: None)
        self._speaker = _Loudspeaker(recorder, session.sample_rate_out)
        self._exchange: Exchange | None = None
        self._exchanges: list[Exchange] = []
        self._of_turn: dict[int, Exchange] = {}
        self._changed = asyncio.Event()
        self._audible_at_s: float | None = None
        self._cpu_at_zero_s: float | None = None
        self._open_turns = 0
        self._last_sign_s = 0.0
        self._fed_until_s = 0.0

    async def hold(self, questions: Sequence[Question], tail_s: float = 1.0) -> list[Exchange]:
        """Speak every question and hear every reply out; closes the session."""
        listening = asyncio.create_task(self._listen())
        self._fed_until_s = now_s()
        try:
            await self._be_silent(GAP_MS / 1000)
            for question in questions:
                await self._wait_for_my_turn(question)
                await self._speak(question)
            await self._wait_for_my_turn(None)
            await self._be_silent(tail_s)
        finally:
            await self._session.close()
            await listening
        for exchange in self._exchanges:
            self._measure(exchange)
        return self._exchanges

    async def _speak(self, question: Question) -> None:
        rate = self._session.sample_rate_in
        pcm = resample(question.audio.pcm, question.audio.sample_rate, rate)
        end = last_audible_sample(pcm, rate)
        exchange = Exchange(question.name, started_s=self._fed_until_s)
        exchange.speech_end_s = self._fed_until_s + (end if end is not None else len(pcm)) / rate
        self._exchange, self._audible_at_s, self._cpu_at_zero_s = exchange, None, None
        self._exchanges.append(exchange)
        self._last_sign_s = exchange.started_s + len(pcm) / rate
        await self._feed(pcm)

    async def _wait_for_my_turn(self, question: Question | None) -> None:
        """Send silence until it is this question's moment (None: until all has been said)."""
        if self._exchange is None:
            return
        exchange, cuts_in_ms = self._exchange, question.cuts_in_ms if question else None
        while True:
            heard_end = exchange.latency is not None or bool(exchange.errors)
            if cuts_in_ms is not None and self._audible_at_s is not None:
                if now_s() >= self._audible_at_s + cuts_in_ms / 1000 or heard_end:
                    return
            elif self._open_turns == 0 and heard_end:
                break
            patience_s = UNHEARD_S if self._open_turns == 0 else UNANSWERED_S
            if now_s() > self._last_sign_s + patience_s:
                break
            await self._be_silent(CHUNK_MS / 1000)
        await self._be_silent(GAP_MS / 1000)

    async def _be_silent(self, seconds: float) -> None:
        await self._feed(np.zeros(round(seconds * self._session.sample_rate_in), np.float32))

    async def _feed(self, pcm: np.ndarray) -> None:
        """Send audio in small chunks, each at the moment its last sample would be recorded."""
        rate = self._session.sample_rate_in
        size = CHUNK_MS * rate // 1000
        for at in range(0, len(pcm), size):
            chunk = pcm[at : at + size]
            self._recorder.user(self._fed_until_s, chunk, rate)
            self._fed_until_s += len(chunk) / rate
            if self._cpu_at_zero_s is None and self._is_past_question():
                self._cpu_at_zero_s = time.thread_time()
            await asyncio.sleep(max(0.0, self._fed_until_s - now_s()))
            await self._session.feed(chunk)

    def _is_past_question(self) -> bool:
        return self._exchange is not None and self._fed_until_s >= self._exchange.speech_end_s

    async def _listen(self) -> None:
        async for event in self._session.events():
            self._take(event)
            self._on_event(event)

    def _take(self, event: Event) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if not isinstance(event, SessionError):
            self._last_sign_s = max(self._last_sign_s, event.at_s)
        match event:
            case UserSpeechStarted():
                self._open_turns += 1
            case UserTranscript(final=True):
                self._of_turn[event.turn] = exchange
                exchange.transcript = event.text
            case ReplyText():
                owner = self._of_turn.setdefault(event.turn, exchange)
                owner.reply += event.text
            case ReplyAudio():
                at_s = self._speaker.play(event.pcm)
                self._last_sign_s = max(self._last_sign_s, at_s)
                audible = first_audible_sample(event.pcm, self._session.sample_rate_out)
                if self._audible_at_s is None and audible is not None:
                    self._audible_at_s = at_s
                    if self._cpu_at_zero_s is not None:
                        cpu_s = time.thread_time() - self._cpu_at_zero_s
                        exchange.loop_cpu_ms = 1000 * cpu_s
            case ReplyPaused():
                self._speaker.drop()
            case ReplyInterrupted():
                self._speaker.drop()
                owner = self._of_turn.get(event.turn, exchange)
                if event.reopened:
                    self._open_turns -= 1
                    owner.reply = ""
                else:
                    owner.reply, owner.was_interrupted = event.heard_text, True
            case TurnMeasured():
                owner = self._of_turn.get(event.turn, exchange)
                owner.latency = event.latency
                self._open_turns = max(0, self._open_turns - 1)
            case TurnDiscarded():
                self._open_turns = max(0, self._open_turns - 1)
            case SessionError():
                exchange.errors.append(event.message)

    def _measure(self, exchange: Exchange) -> None:
        """Take first audio and cuts from the recording, not from anybody's word."""
        agent, rate = self._recorder.agent_channel, self._recorder.sample_rate
        zero_s = self._recorder.began_s
        assert zero_s is not None  # the user has been heard
        start = round((exchange.started_s - zero_s) * rate)
        end = round((exchange.speech_end_s - zero_s) * rate)
        reply = agent[end:]
        audible = first_audible_sample(reply, rate)
        later = [e.started_s for e in self._exchanges if e.started_s > exchange.started_s]
        before_s = min(later, default=float("inf")) - exchange.speech_end_s
        if audible is not None and audible / rate < before_s:
            exchange.ttfa_ms = 1000.0 * audible / rate
        index = self._exchanges.index(exchange)
        spoke_before = index > 0 and self._exchanges[index - 1].was_interrupted
        if not spoke_before:
            exchange.was_cut = first_audible_sample(agent[start:end], rate) is not None


class LiveConversation:
    """A conversation through a microphone and a loudspeaker, until it is stopped.

    Args:
        session: fresh, with any system behind it.
        on_event: told of every event, to show it.
        recorder: where both sides are written down, if wanted.
    """

    def __init__(
        self,
        session: Session,
        on_event: Callable[[Event], None],
        recorder: ConversationRecorder | None = None,
    ) -> None:
        self._session = session
        self._on_event = on_event
        self._recorder = recorder
        self._of_turn: dict[int, Exchange] = {}
        self._turn = 0
        self._reply_began_at = 0

    @property
    def exchanges(self) -> list[Exchange]:
        """The turns so far."""
        return list(self._of_turn.values())

    async def hold(self, microphone: Microphone, speaker: Speaker) -> None:
        """Talk until cancelled; closes the session."""
        listening = asyncio.create_task(self._listen(speaker))
        rate = microphone.sample_rate
        to_session = StreamingResampler(rate, self._session.sample_rate_in)
        try:
            async for block in microphone:
                if self._recorder is not None:
                    self._recorder.user(now_s() - len(block) / rate, block, rate)
                self._report_played(speaker)
                await self._session.feed(to_session.push(block))
        finally:
            await self._session.close()
            await listening

    def _report_played(self, speaker: Speaker) -> None:
        """What has left the loudspeaker: what the device took, less what it still holds."""
        if self._turn:
            held = speaker.latency_ms * speaker.sample_rate / 1000
            self._session.played(
                self._turn, round(speaker.played_samples - held) - self._reply_began_at
            )

    async def _listen(self, speaker: Speaker) -> None:
        async for event in self._session.events():
            match event:
                case ReplyAudio():
                    if event.turn != self._turn:
                        self._turn = event.turn
                        taken = speaker.played_samples + speaker.queued_samples
                        self._reply_began_at = taken - event.offset
                    if self._recorder is not None:
                        waiting_s = speaker.queued_samples / speaker.sample_rate
                        heard_at_s = now_s() + waiting_s + speaker.latency_ms / 1000
                        self._recorder.agent(heard_at_s, event.pcm, speaker.sample_rate)
                    speaker.play(event.pcm)
                case ReplyDone():
                    speaker.end_of_reply()
                case ReplyPaused() | ReplyInterrupted():
                    speaker.drop()
                    self._reply_began_at = speaker.played_samples - event.heard_samples
                    if self._recorder is not None:
                        self._recorder.truncate_agent(now_s())
                case UserTranscript(final=True):
                    self._of_turn[event.turn] = Exchange(f"turn {event.turn}", event.text)
                case ReplyText() if event.turn in self._of_turn:
                    self._of_turn[event.turn].reply += event.text
                case TurnMeasured() if event.turn in self._of_turn:
                    exchange = self._of_turn[event.turn]
                    exchange.latency, exchange.ttfa_ms = event.latency, event.latency.ttfa_ms
            if isinstance(event, ReplyInterrupted) and event.turn in self._of_turn:
                exchange = self._of_turn[event.turn]
                exchange.reply, exchange.was_interrupted = event.heard_text, not event.reopened
            self._on_event(event)
