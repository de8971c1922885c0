"""One Realtime session: client events in, server events out, over one Backtalk session.

Nothing here knows a socket, so a session outlives the one it began on. This file holds the state
and turns what the session says into the protocol's events; what the client may do to it is in
`client_events.py`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from backtalk.errors import ProtocolError
from backtalk.realtime.audio_format import AudioIn
from backtalk.realtime.items import item_json
from backtalk.realtime.limits import Limits
from backtalk.realtime.observer import SessionObserver
from backtalk.realtime.outgoing import OutgoingAudio, Outlet
from backtalk.realtime.response import Response
from backtalk.realtime.session_config import SessionConfig
from backtalk.session.memory import Entry, Message, new_entry_id
from backtalk.session.session import Session
from backtalk.session.settings import TurnSettings
from backtalk.session.turn_session import TurnSession
from backtalk.stream.events import (
    Event,
    IdleTimeout,
    Overrun,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    ReplyPaused,
    ReplyStarted,
    ReplyText,
    SessionError,
    StepsMeasured,
    ToolCall,
    TurnDiscarded,
    TurnMeasured,
    UserSpeechStarted,
    UserTranscript,
    UserTurnEnded,
)
from backtalk.systems import Agent

log = logging.getLogger(__name__)

USER_SAID_NOTHING = "(The user says nothing.)"
WITHDRAWN_ITEMS = 16


class RealtimeSession:
    """A client's session.

    Args:
        agent: the system that answers.
        model: the name the client knows it by.
        outlet: where its events go, the first of them at once.
        transport: on WebRTC the audio travels beside the events.
        config: session fields fixed before it began (by an ephemeral secret or a WebRTC offer).
        limits: what the client may ask.
        turns: the server's own turn-taking; the default if None.
        observers: makes those who are told of everything in the session behind it.
    Raises:
        CapacityError: the system has no free slot.
        ProtocolError: `config` makes no sense.

    Attributes:
        id: of the session.
        config: the effective session object.
        session: the Backtalk session behind it.
        withdrawn: the last items that were taken back when a user turned out not to have finished.
        sample_rate_in, sample_rate_out: Hz of `feed` and of `OutgoingAudio.pcm`.
    """

    def __init__(
        self,
        agent: Agent,
        model: str,
        outlet: Outlet,
        *,
        transport: Literal["websocket", "webrtc"] = "websocket",
        config: dict[str, Any] | None = None,
        limits: Limits | None = None,
        turns: TurnSettings | None = None,
        observers: Callable[[Session], Sequence[SessionObserver]] = lambda session: (),
    ) -> None:
        self.id = f"sess_{secrets.token_hex(10)}"
        self.conversation_id = f"conv_{secrets.token_hex(10)}"
        self.agent = agent
        self.transport = transport
        self.limits = limits or Limits()
        turns = turns or TurnSettings()
        self.config = SessionConfig(self.id, model, turns, self.limits)
        self.config.update(config or {})
        self.session = agent.open_session(self.turn_settings())
        self._observers = observers(self.session)
        self.sample_rate_in = self.session.sample_rate_in
        self.sample_rate_out = self.session.sample_rate_out
        self.audio_in = AudioIn(self.config.format_in, self.sample_rate_in)
        self.response: Response | None = None
        self.asked: dict[str, dict[str, Any]] = {}
        self.voice_items: set[str] = set()
        self.withdrawn: deque[str] = deque(maxlen=WITHDRAWN_ITEMS)
        self.buffered_ms = 0.0
        self.asides: set[asyncio.Task[None]] = set()
        self._outlet = outlet
        self._told: set[str] = set()
        self._events = 0
        self._turn, self._item_id = 0, ""
        self._is_heard = False
        self._sent_samples = 0
        self._last_user_item: str | None = None
        self._speech: UserSpeechStarted | None = None
        self._speech_is_held = False
        self._is_closed = False
        self.expires_at = int(time.time() + self.limits.session_s)
        self.apply_config()
        self.emit("session.created", session=self.session_json())
        self._pump_task = asyncio.create_task(self._pump())

    # For the transport.

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._is_closed

    async def feed(self, pcm: np.ndarray) -> None:
        """Hear the user: float32 [T] at `sample_rate_in`."""
        if not self._is_closed:
            for observer in self._observers:
                observer.heard(pcm, self.sample_rate_in)
            await self.session.feed(pcm)

    def played(self, item_id: str, played_ms: float) -> None:
        """The listener has heard so much of an item."""
        if self.response is not None and self.response.message_id == item_id:
            self.session.played(self._turn, round(played_ms * self.sample_rate_out / 1000))

    async def close(self) -> None:
        """Stop all work and close the outlet. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        for task in self.asides:
            task.cancel()
        await asyncio.gather(*self.asides, return_exceptions=True)
        await self.session.close()
        await asyncio.gather(self._pump_task, return_exceptions=True)
        for observer in self._observers:
            observer.closed()
        self._outlet.close()

    # For the handlers of client events.

    @property
    def turns(self) -> TurnSession:
        """The session as one that takes turns.

        Raises:
            ProtocolError: the system has none: it converts or listens and speaks at once.
        """
        if not isinstance(self.session, TurnSession):
            raise ProtocolError(
                "unsupported_by_model",
                f"{self.session.system} has no turns; send audio and hear what comes back",
            )
        return self.session

    @property
    def has_active_response(self) -> bool:
        """Whether a response of the conversation is not done, or will begin without being asked."""
        if self.response is not None and not self.response.is_done:
            return True
        return any(item_id != self._item_id for item_id in self.turns.replies_under_way)

    def emit(self, type: str, **fields: Any) -> str:
        """Send a server event; returns its id."""
        if type == "conversation.item.added":
            self._told.add(fields["item"]["id"])
        event_id = self.new_event_id()
        self._outlet.put({"type": type, "event_id": event_id, **fields})
        return event_id

    async def emit_audio(self, audio: OutgoingAudio) -> None:
        """Send audio once there is room for it."""
        await self._outlet.put_audio(audio)

    def new_event_id(self) -> str:
        """In order within the session."""
        self._events += 1
        return f"event_{self._events}"

    def refuse(self, error: ProtocolError, event: dict[str, Any] | None = None) -> None:
        """Tell the client what was wrong with its event."""
        self._error("invalid_request_error", error.code, str(error), error.param, event)

    def fail(self, message: str, event: dict[str, Any] | None = None) -> None:
        """Tell the client that the server failed."""
        self._error("server_error", "internal_error", message, None, event)

    def _error(
        self, kind: str, code: str, message: str, param: str | None, event: dict[str, Any] | None
    ) -> None:
        cause = event.get("event_id") if event else None
        details = {"type": kind, "code": code, "message": message, "param": param}
        self.emit("error", error={**details, "event_id": cause})

    def session_json(self) -> dict[str, Any]:
        """The effective session object."""
        return {**self.config.json, "expires_at": self.expires_at}

    def turn_settings(self) -> TurnSettings:
        """How turns are taken, by the effective session object."""
        return self.config.turn_settings()

    def apply_config(self) -> None:
        """Let the session follow the effective session object."""
        if isinstance(self.session, TurnSession):
            self.session.configure(self.turn_settings())
            self.session.reply_options = self.config.reply_options()

    def show(self, entry: Entry, status: str = "completed") -> dict[str, Any]:
        """An entry of the conversation as the protocol's item."""
        return item_json(entry, is_voice=entry.id in self.voice_items, status=status)

    def previous(self, item_id: str) -> str | None:
        """The item before this one that the client knows of."""
        before = None
        for entry in self.turns.memory:
            if entry.id == item_id:
                return before
            if entry.id in self._told:
                before = entry.id
        return before

    def add_item(self, entry: Entry) -> None:
        """Say that an item, already in the memory, is part of the conversation."""
        item, before = self.show(entry), self.previous(entry.id)
        self.emit("conversation.item.added", previous_item_id=before, item=item)
        self.emit("conversation.item.done", previous_item_id=before, item=item)

    # What the session says.

    async def _pump(self) -> None:
        try:
            async for event in self.session.events():
                for observer in self._observers:
                    observer.event(event)
                if isinstance(event, ReplyAudio):
                    await self._on_audio(event)
                else:
                    if isinstance(event, ReplyDone):
                        await self._end_audio()
                    self._on_event(event)
        except Exception:
            log.exception("session %s failed", self.id)
            self.fail("the session failed; open another one")
        finally:
            self._outlet.close()

    async def _on_audio(self, event: ReplyAudio) -> None:
        response = self.response
        if response is None:  # a converter: one response as long as the session
            response = self._start_response(event.turn, new_entry_id(), in_conversation=False)
        if response.is_done:
            return
        if response.message_id is None:
            self._open_message(response)
        # After a false interruption audio comes again from the first sample not heard. A client
        # that was not told to drop it has it already.
        known = self._sent_samples - event.offset
        if known >= len(event.pcm):
            return
        pcm = event.pcm[known:] if known > 0 else event.pcm
        self._sent_samples = event.offset + len(event.pcm)
        await self._outlet.put_audio(response.audio(pcm))

    async def _end_audio(self) -> None:
        response = self.response
        tail = None if response is None or response.is_done else response.last_audio()
        if tail is not None:
            await self._outlet.put_audio(tail)

    def _on_event(self, event: Event) -> None:
        match event:
            case UserSpeechStarted():
                self._on_speech_started(event)
            case UserTranscript(final=False):
                if "backtalk.partials" in self.config.includes and self._speech is not None:
                    item_id, text = self._speech.item_id, event.text
                    self.emit("backtalk.transcript.partial", item_id=item_id, transcript=text)
            case UserTurnEnded():
                self._on_turn_ended(event)
            case UserTranscript(final=True):
                self._on_transcript(event)
            case TurnDiscarded():
                self._on_discarded(event)
            case ReplyStarted():
                self._start_response(event.turn, event.item_id)
            case ReplyText() if self.response is not None and not self.response.is_done:
                if self.response.message_id is None:
                    self._open_message(self.response)
                self.response.say(event.text)
            case ToolCall():
                self._on_tool_call(event)
            case ReplyPaused():
                self._on_paused(event)
            case ReplyDone():
                self._on_reply_done(event)
            case ReplyInterrupted():
                self._on_interrupted(event)
            case TurnMeasured():
                self._on_measured(event)
            case StepsMeasured():
                self._on_steps(event)
            case IdleTimeout():
                self._on_idle(event)
            case SessionError():
                self._on_session_error(event)
            case Overrun():
                log.info("session %s: %d frames dropped", self.id, event.frames)

    def _on_speech_started(self, event: UserSpeechStarted) -> None:
        self._speech = event
        # Clients drop what they play at this event, so speech over a reply is told only once it
        # is sure to be an interruption.
        self._speech_is_held = self._is_heard and self.turn_settings().yields
        if not self._speech_is_held:
            self._tell_speech_started()

    def _tell_speech_started(self) -> None:
        speech, self._speech_is_held = self._speech, False
        if speech is not None:
            start_ms = 1000 * speech.sample // self.sample_rate_in - self._pre_roll_ms()
            self.emit(
                "input_audio_buffer.speech_started",
                audio_start_ms=max(0, start_ms),
                item_id=speech.item_id,
            )

    def _pre_roll_ms(self) -> int:
        return self.turn_settings().pre_roll_ms

    def _on_turn_ended(self, event: UserTurnEnded) -> None:
        if self._speech_is_held:
            self._tell_speech_started()
        if self.turn_settings().ends_turns:
            end_ms = 1000 * event.sample // self.sample_rate_in
            stopped = "input_audio_buffer.speech_stopped"
            self.emit(stopped, audio_end_ms=end_ms, item_id=event.item_id)
        self._speech = None
        self.buffered_ms = 0.0
        self._last_user_item = event.item_id
        self.voice_items.add(event.item_id)
        before = self.previous(event.item_id)
        committed = {"previous_item_id": before, "item_id": event.item_id}
        self.emit("input_audio_buffer.committed", **committed)
        entry = self.turns.memory.get(event.item_id)
        if entry is not None:
            self.add_item(entry)

    def _on_transcript(self, event: UserTranscript) -> None:
        if self.config.is_transcribed and event.item_id is not None:
            ids = {"item_id": event.item_id, "content_index": 0}
            kind = "conversation.item.input_audio_transcription"
            if event.text:
                self.emit(f"{kind}.delta", **ids, delta=event.text)
            usage = {"type": "duration", "seconds": 0}
            self.emit(f"{kind}.completed", **ids, transcript=event.text, usage=usage)

    def _on_discarded(self, event: TurnDiscarded) -> None:
        speech = self._speech
        if speech is None or event.item_id != speech.item_id:
            return
        self._speech = None
        if not self._speech_is_held and event.reason != "cleared":
            end_ms = 1000 * speech.sample // self.sample_rate_in
            stopped = "input_audio_buffer.speech_stopped"
            self.emit(stopped, audio_end_ms=end_ms, item_id=speech.item_id)
        self._speech_is_held = False

    def _start_response(self, turn: int, item_id: str, *, in_conversation: bool = True) -> Response:
        asked = self.asked.pop(item_id, {})
        json = self.config.json
        modalities = asked.get("output_modalities", json["output_modalities"])
        self._turn, self._is_heard, self._sent_samples = turn, True, 0
        self._item_id = item_id
        self.response = Response(
            self.emit,
            self.new_event_id,
            self.sample_rate_out,
            self.config.format_out,
            voice=json["audio"]["output"]["voice"],
            speaks="audio" in modalities,
            conversation_id=self.conversation_id if in_conversation else None,
            metadata=asked.get("metadata"),
            max_output_tokens=asked.get("max_output_tokens", json["max_output_tokens"]),
        )
        if self.transport == "webrtc":
            self.emit("output_audio_buffer.started", response_id=self.response.id)
        return self.response

    def _open_message(self, response: Response) -> None:
        before = self.previous(self._item_id) if response.is_in_conversation else None
        self.voice_items.add(self._item_id)
        response.open_message(self._item_id, before)

    def _on_tool_call(self, event: ToolCall) -> None:
        response = self.response
        if response is None or response.is_done:
            return
        entry = self.turns.memory.get(event.call_id)
        if entry is not None:
            response.call_tool(self.show(entry), self.previous(entry.id))

    def _on_paused(self, event: ReplyPaused) -> None:
        if "backtalk.playout" not in self.config.includes:
            return
        self._outlet.take_back_audio()
        self._sent_samples = event.heard_samples
        heard_ms = 1000 * event.heard_samples / self.sample_rate_out
        paused = {"item_id": self._item_id, "audio_end_ms": heard_ms}
        self.emit("backtalk.output_audio.paused", **paused)

    def _on_reply_done(self, event: ReplyDone) -> None:
        response = self.response
        if response is None or response.is_done:
            return
        before = self.previous(self._item_id) if response.is_in_conversation else None
        status = "completed" if event.error is None else "failed"
        response.finish(status, error=event.error, previous_item_id=before)

    def _on_interrupted(self, event: ReplyInterrupted) -> None:
        by_client = self._speech is None
        if self._speech_is_held:
            self._tell_speech_started()
        self._outlet.take_back_audio()
        self._is_heard = False
        response, reason = self.response, "client_cancelled" if by_client else "turn_detected"
        if response is not None:
            response.finish("cancelled", reason=reason)
            if self.transport == "webrtc":
                self.emit("output_audio_buffer.cleared", response_id=response.id)
        if event.reopened:
            # They had not finished: the half turn and the reply to it are taken back.
            for item_id in (self._item_id, self._last_user_item):
                if item_id is not None:
                    self.withdrawn.append(item_id)
                    self.emit("conversation.item.deleted", item_id=item_id)
        self._cancel_unheard(event.turn, reason)

    def _cancel_unheard(self, turn: int, reason: str) -> None:
        """Tell of responses that were asked for and went with the one they waited for."""
        under_way = self.turns.replies_under_way
        for item_id in [asked for asked in self.asked if asked not in under_way]:
            self._start_response(turn, item_id).finish("cancelled", reason=reason)
        self._is_heard = False

    def _on_measured(self, event: TurnMeasured) -> None:
        self._is_heard = False
        if self._speech_is_held:
            self._tell_speech_started()
        if self.transport == "webrtc" and self.response is not None:
            self.emit("output_audio_buffer.stopped", response_id=self.response.id)
        if "backtalk.latency" in self.config.includes and self.response is not None:
            latency = event.latency
            self.emit(
                "backtalk.turn.measured",
                response_id=self.response.id,
                item_id=self._item_id,
                ttfa_ms=latency.ttfa_ms,
                stages_ms=latency.stages_ms,
                rtf=latency.rtf,
                barge_in_ms=latency.barge_in_ms,
                underruns=latency.underruns,
            )

    def _on_steps(self, event: StepsMeasured) -> None:
        if "backtalk.latency" in self.config.includes:
            self.emit(
                "backtalk.steps.measured",
                steps=event.steps,
                step_p50_ms=event.step_p50_ms,
                step_p95_ms=event.step_p95_ms,
                step_p99_ms=event.step_p99_ms,
                late_steps=event.late_steps,
                floor_ms=event.floor_ms,
                dropped_ms=event.dropped_ms,
            )

    def _on_idle(self, event: IdleTimeout) -> None:
        entry = Entry(new_entry_id(), Message("user", USER_SAID_NOTHING))
        self.turns.memory.add(entry)
        span = {"audio_start_ms": 0, "audio_end_ms": round(1000 * event.idle_s)}
        self.emit("input_audio_buffer.timeout_triggered", **span, item_id=entry.id)
        committed = {"previous_item_id": self.previous(entry.id), "item_id": entry.id}
        self.emit("input_audio_buffer.committed", **committed)
        self.voice_items.add(entry.id)
        self.add_item(entry)
        self.turns.reply()

    def _on_session_error(self, event: SessionError) -> None:
        response = self.response
        if response is not None and self._is_heard:
            # Told where clients look for it: an `error` event is the end of the session to some.
            self._is_heard = False
            response.finish("failed", error=event.message)
            return
        self._error("server_error", f"{event.stage}_failed", event.message, None, None)
