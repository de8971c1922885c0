"""Turn-taking, shared by every Responder: who has the turn, and what is said when.

The user's turn goes through these moments (times are silence since the last word):

    speech starts -> `hear_ms`: what was said so far is recognised -> `soft_end_ms`: a reply is
    begun behind a gate, the turn detector is asked -> complete or incomplete wait over: the gate
    opens. Speech before that throws the begun reply away and the turn goes on.

Speech during a reply is an overlap: its words decide whether it is a barge-in, a back-channel or
noise, and whether the user in fact had not finished their turn before.

Everything here runs on the event loop and returns at once; models run behind the responder.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError, SessionClosedError
from backtalk.session.backchannel import is_backchannel
from backtalk.session.detectors import TurnDetector, VoiceActivityDetector
from backtalk.session.endpoint import EndEvidence, required_silence_ms
from backtalk.session.memory import Entry, Memory, Message
from backtalk.session.open_turn import OpenTurn
from backtalk.session.replies import Replies
from backtalk.session.responder import (
    ReplyOptions,
    Responder,
    UserTurn,
    WordsSoFar,
)
from backtalk.session.session import checked_pcm
from backtalk.session.settings import TurnSettings
from backtalk.session.speaking import Speaking
from backtalk.session.speech_tracker import SpeechTracker
from backtalk.session.turn_audio import TurnAudio
from backtalk.stream.clock import now_s
from backtalk.stream.events import (
    Event,
    IdleTimeout,
    SessionError,
    TurnDiscarded,
    UserSpeechStarted,
    UserTranscript,
    UserTurnEnded,
)
from backtalk.stream.outbox import Outbox
from backtalk.stream.worker import ModelWorker


class TurnSession:
    """A session with a turn-based system (see `session.Session` for what every client may call).

    Args:
        responder: the system, loaded and warm.
        vad: finds speech; its sample rate must be the responder's.
        turn_detector: judges by ear whether a turn is complete; None leaves it to silence alone.
        settings: every delay of turn-taking.
        detector_worker: the thread that the turn detector runs on, if sessions share one.
    Raises:
        ValueError: the detectors hear at another sample rate than the responder.
    """

    def __init__(
        self,
        responder: Responder,
        vad: VoiceActivityDetector,
        turn_detector: TurnDetector | None,
        settings: TurnSettings | None = None,
        detector_worker: ModelWorker | None = None,
    ) -> None:
        spec = responder.spec
        for name, part in (("VAD", vad), ("turn detector", turn_detector)):
            if part is not None and part.sample_rate != spec.sample_rate_in:
                raise ValueError(
                    f"the {name} hears at {part.sample_rate} Hz, {spec.name} at "
                    f"{spec.sample_rate_in} Hz"
                )
        self.system = spec.name
        self.sample_rate_in = spec.sample_rate_in
        self.sample_rate_out = spec.sample_rate_out
        self._has_transcript = spec.has_transcript
        self._detector = turn_detector
        self._owns_worker = detector_worker is None
        self._detector_worker = detector_worker or ModelWorker("turn-detector")
        self._settings = settings or TurnSettings()
        self._tracker = SpeechTracker(vad, self._settings)
        self._audio = TurnAudio()
        self._outbox: Outbox[Event] = Outbox()
        self._fed_at_s = now_s()
        self._turns = 0
        self._open: OpenTurn | None = None
        self._replies = Replies(
            responder, self._outbox, self._settings, self._try_commit, self._on_quiet
        )
        self._last_turn: UserTurn | None = None
        self._last_item_id: str | None = None
        self._ended_at_sample = 0
        self._ended_pcm = np.zeros(0, np.float32)
        self._quiet_since_s: float | None = now_s()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    # What the client calls.

    @property
    def memory(self) -> Memory:
        """The conversation so far; a client may edit it between turns."""
        return self._replies.memory

    @property
    def reply_options(self) -> ReplyOptions:
        """What replies are asked for from now on."""
        return self._replies.options

    @reply_options.setter
    def reply_options(self, options: ReplyOptions) -> None:
        if options != self._replies.options:
            self._replies.options = options
            self._replies.conversation.prepare(options)

    @property
    def replies_under_way(self) -> list[str]:
        """Ids of the replies that are heard or wait for that; each will be in the memory."""
        return self._replies.under_way

    @property
    def _speaking(self) -> Speaking | None:
        return self._replies.speaking

    async def feed(self, pcm: np.ndarray) -> None:
        """Hear more of the user; see `Session.feed`."""
        if self._is_closed:
            raise SessionClosedError(f"the {self.system} session is closed; open another one")
        pcm = checked_pcm(pcm)
        self._audio.append(pcm)
        self._fed_at_s = now_s()
        started = self._tracker.push(pcm)
        if started and self._settings.ends_turns:
            self._quiet_since_s = None
            self._on_speech_started()
        if not self._settings.ends_turns:
            self._on_held_turn_audio()
        elif self._open is None:
            keep = self._samples(self._settings.pre_roll_ms + self._settings.speech_start_ms + 100)
            self._audio.forget_before(self._audio.end - keep)
            self._check_idle()
        else:
            self._on_turn_audio(self._open)
        await asyncio.sleep(0)

    async def end_turn(self) -> None:
        """The client says that the user's turn is over and wants a reply."""
        if self._open is not None and self._speaking is None:
            self._open.is_forced = True
            self._on_turn_audio(self._open)

    def commit(self) -> str | None:
        """The client says that the user's turn is over, and wants no reply yet.

        Returns:
            The id of its entry in the memory; None if nothing was said.
        """
        turn = self._open
        if turn is None:
            return None
        self._drop_draft(turn)
        self._end(turn, self._user_turn(turn))
        self._go_on_speaking()
        self._replies.words_pending = self._start(self._write_down(turn, self._last_turn))
        return turn.item_id

    def clear(self) -> None:
        """The client takes back what the user has said and not ended."""
        if self._open is not None:
            self._discard(self._open, "cleared")
            self._ended_at_sample = self._audio.end
            self._go_on_speaking()

    def reply(
        self, options: ReplyOptions | None = None, context: Sequence[Message] | None = None
    ) -> str:
        """Make a reply now, to the conversation as it is; behind the one that is being heard.

        Args:
            options: instead of `reply_options`.
            context: what to reply to instead of the conversation.
        Returns:
            The id its entry in the memory will have.
        """
        self._turns += 1
        turn = None if self._has_transcript or context is not None else self._last_turn
        return self._replies.ask(self._turns, turn, options, context).item_id

    def add_spoken(self, entry: Entry, pcm: np.ndarray, after: str | None = None) -> str | None:
        """Put something the user said elsewhere into the conversation; replies wait for its words.

        Args:
            entry: of the user, its text empty.
            pcm: float32 [T] at `sample_rate_in`.
            after: see `Memory.add`.
        Returns:
            The id of the entry before it.
        """
        before = self.memory.add(entry, after)
        self._turns += 1
        turn = OpenTurn(self._turns, 0, 0, item_id=entry.id)
        self._last_turn = UserTurn(turn.number, checked_pcm(pcm), len(pcm))
        self._replies.words_pending = self._start(self._write_down(turn, self._last_turn))
        return before

    def cancel_reply(self) -> None:
        """Stop the reply that is being heard, and the one behind it."""
        self._replies.cut()

    def truncate(self, item_id: str, samples: int) -> None:
        """The client says how much of a reply was heard; the memory keeps only that.

        Raises:
            KeyError: no such reply, or it has no sound.
        """
        self._replies.truncate(item_id, samples)

    def configure(self, settings: TurnSettings) -> None:
        """Take turns by other settings from now on."""
        if settings.ends_turns != self._settings.ends_turns:
            self.clear()
        self._settings = self._replies.settings = settings
        self._tracker.configure(settings)
        if not settings.yields:
            self._go_on_speaking()

    def events(self) -> AsyncIterator[Event]:
        """Events in order; see `Session.events`."""
        return self._outbox.read()

    def played(self, turn: int, samples: int) -> None:
        """The listener's report; see `Session.played`."""
        if self._speaking is not None and self._speaking.number == turn:
            self._speaking.played(samples)

    def tool_result(self, call_id: str, output: str) -> None:
        """Answer a `ToolCall` event; once all are answered, the reply goes on.

        An answer that nobody waits for is dropped.
        """
        if self._replies.tool_result(call_id, output):
            self.reply()

    async def close(self) -> None:
        """Stop all work and end `events`. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._replies.close()
        if self._owns_worker:
            self._detector_worker.close()
        self._outbox.close()

    # The user's turn.

    def _on_speech_started(self) -> None:
        onset = self._tracker.onset_sample
        turn = self._open
        if turn is not None:
            self._drop_draft(turn)
            return
        self._tracker.restart_count()
        self._turns += 1
        start = max(0, onset - self._samples(self._settings.pre_roll_ms))
        turn = OpenTurn(self._turns, start, onset, judge_at_ms=self._settings.barge_in_ms)
        self._open = turn
        speaking = self._speaking
        if speaking is not None:
            since_end_ms = self._ms(onset - self._ended_at_sample)
            heard_ms = 1000.0 * speaking.heard_samples() / self.sample_rate_out
            turn.goes_on = (
                since_end_ms <= self._settings.reopen_within_ms
                and heard_ms <= self._settings.reopen_heard_ms
            )
        self._outbox.put(UserSpeechStarted(now_s(), onset, turn.item_id))

    def _on_held_turn_audio(self) -> None:
        """The client ends the turns: everything belongs to one, from the first sample on."""
        turn = self._open
        if turn is None:
            self._turns += 1
            start = self._ended_at_sample = max(self._ended_at_sample, self._audio.start)
            self._open = OpenTurn(self._turns, start, start)
            return
        oldest = self._audio.end - self._samples(self._settings.max_turn_ms)
        if oldest > turn.start_sample:
            turn.start_sample = oldest
            self._audio.forget_before(oldest)

    def _on_turn_audio(self, turn: OpenTurn) -> None:
        settings = self._settings
        if self._speaking is not None:
            self._on_overlap(turn, self._speaking)
            return
        if self._tracker.is_speaking and not turn.is_forced:
            if self._ms(self._audio.end - max(turn.start_sample, 0)) >= settings.max_turn_ms:
                turn.is_forced = True
            unheard = self._tracker.last_speech_sample - max(turn.heard_until, turn.onset_sample)
            is_due = self._ms(unheard) >= settings.partial_every_ms
            if is_due or (settings.speculate and self._tracker.is_quiet):
                self._hear(turn, weighs=False)
        silence_ms = self._silence_ms()
        if turn.is_forced or not self._tracker.may_be_speaking:
            if silence_ms >= settings.hear_ms:
                self._ask_detector(turn)
                if settings.speculate:
                    self._hear(turn, weighs=True)
            if not settings.replies and self._is_over(turn):
                self.commit()
                return
            may_begin = settings.speculate and silence_ms >= settings.soft_end_ms
            if turn.draft is None and settings.replies and (may_begin or self._is_over(turn)):
                self._begin_draft(turn)
        self._try_commit()

    def _is_over(self, turn: OpenTurn) -> bool:
        if turn.is_forced:
            return True
        if self._tracker.may_be_speaking:
            return False
        is_asking = turn.hearings > 0 or (
            self._detector is not None and turn.evidence.sound is None
        )
        wait_ms = required_silence_ms(turn.evidence, self._settings)
        return self._silence_ms() >= (self._settings.incomplete_wait_ms if is_asking else wait_ms)

    def _try_commit(self) -> None:
        turn = self._open
        if turn is None or turn.draft is None or self._speaking is not None:
            return
        draft = turn.draft
        if self._has_transcript and draft.transcript is None and not draft.is_made:
            return
        if not self._is_over(turn):
            return
        if draft.transcript == "":
            self._discard(turn, "noise")
            return
        user_turn = draft.turn
        assert user_turn is not None
        self._end(turn, user_turn)
        if draft.transcript is not None:
            self._note(turn, draft.transcript)
        zero_s = self._time_of(self._ended_at_sample)
        self._replies.speak(draft, zero_s, turn.speculations, turn.evidence)

    def _end(self, turn: OpenTurn, user_turn: UserTurn) -> None:
        """The turn is over: from here on it is part of the conversation."""
        self._open = None
        end = self._tracker.last_speech_sample if self._settings.ends_turns else self._audio.end
        self._ended_at_sample, self._ended_pcm = end, self._pcm(turn)
        self._last_turn, self._last_item_id = user_turn, turn.item_id
        self.memory.add(Entry(turn.item_id, Message("user", "")))
        ended = UserTurnEnded(now_s(), turn.number, end, turn.item_id, turn.replaces)
        self._outbox.put(ended)

    def _note(self, turn: OpenTurn, text: str) -> None:
        entry = self.memory.get(turn.item_id)
        if entry is not None:
            entry.say(text)
        words = UserTranscript(now_s(), turn.number, text, final=True, item_id=turn.item_id)
        self._outbox.put(words)

    async def _write_down(self, turn: OpenTurn, user_turn: UserTurn | None) -> None:
        """Recognise a turn that was ended without a reply."""
        assert user_turn is not None
        try:
            heard = await self._replies.conversation.hear(
                user_turn, self.reply_options, weighs=False
            )
        except BacktalkError as error:
            self._report(error)
            return
        if heard is not None:
            self._note(turn, heard.text)

    def _begin_draft(self, turn: OpenTurn) -> None:
        turn.draft = self._replies.begin(turn.number, self._user_turn(turn))

    def _drop_draft(self, turn: OpenTurn) -> None:
        if turn.draft is not None:
            turn.draft.cancel()
            turn.draft = None
            turn.speculations += 1
        turn.evidence = EndEvidence()

    def _discard(self, turn: OpenTurn, reason: str) -> None:
        self._drop_draft(turn)
        self._open = None
        self._quiet_since_s = now_s()
        self._outbox.put(TurnDiscarded(now_s(), turn.number, reason, turn.item_id))

    # Listening with the models.

    def _hear(self, turn: OpenTurn, *, weighs: bool) -> None:
        """Recognise the turn so far, and judge it, unless that is under way or done."""
        until = self._tracker.words_until_sample
        if weighs:
            # Recognising may be under way already; judging then waits for it.
            if turn.weighed_until == until:
                return
            turn.weighed_until = until
        elif turn.hearings or turn.heard_until == until:
            return
        turn.heard_until = until
        turn.hearings += 1
        self._start(self._heard(turn, self._user_turn(turn), weighs))

    async def _heard(self, turn: OpenTurn, user_turn: UserTurn, weighs: bool) -> None:
        heard: WordsSoFar | None = None
        try:
            heard = await self._replies.conversation.hear(
                user_turn, self.reply_options, weighs=weighs
            )
        except BacktalkError as error:
            self._report(error)
        finally:
            turn.hearings -= 1
        if self._open is not turn:
            return
        words = heard.text if heard is not None else None
        if words is not None and words != turn.words:
            self._outbox.put(UserTranscript(now_s(), turn.number, words, final=False))
        turn.words = words
        if self._speaking is not None:
            self._judge_overlap(turn, self._speaking, words)
        elif weighs and heard is not None and self._is_about(user_turn):
            turn.evidence.words = heard.end_probability
            self._try_commit()

    def _is_about(self, user_turn: UserTurn) -> bool:
        """Whether nothing was said since this was recorded."""
        turn = self._open
        return turn is not None and self._speech_samples(turn) == user_turn.speech_samples

    def _ask_detector(self, turn: OpenTurn) -> None:
        until = self._tracker.last_speech_sample
        if self._detector is not None and turn.asked_until != until and not turn.is_forced:
            turn.asked_until = until
            self._start(self._detected(turn, until, self._pcm(turn)))

    async def _detected(self, turn: OpenTurn, until: int, pcm: np.ndarray) -> None:
        assert self._detector is not None
        try:
            probability = await self._detector_worker.run(self._detector.probability, pcm)
        except BacktalkError as error:
            self._report(error)
            return
        if self._open is turn and turn.asked_until == until:
            turn.evidence.sound = probability
            self._try_commit()

    # Speech while the reply is heard.

    def _on_overlap(self, turn: OpenTurn, speaking: Speaking) -> None:
        settings, speech_ms = self._settings, self._tracker.speech_ms
        if not settings.yields:
            return
        if turn.goes_on and not speaking.is_paused:
            self._pause(turn, speaking)
        if turn.goes_on and speech_ms >= settings.barge_in_ms:
            self._interrupt(turn, speaking)
        elif speech_ms >= settings.barge_in_certain_ms and not speaking.is_paused:
            self._pause(turn, speaking)
            self._hear(turn, weighs=False)
        elif speech_ms >= turn.judge_at_ms and not turn.hearings:
            turn.judge_at_ms += settings.barge_in_ms
            self._hear(turn, weighs=False)
        elif not self._tracker.may_be_speaking and self._silence_ms() >= settings.soft_end_ms:
            if turn.heard_until != self._tracker.words_until_sample:
                self._hear(turn, weighs=False)
            elif not turn.hearings:
                self._judge_overlap(turn, speaking, turn.words)

    def _judge_overlap(self, turn: OpenTurn, speaking: Speaking, words: str | None) -> None:
        """Decide by its words whether speech over the reply takes the turn."""
        settings = self._settings
        is_over = (
            not self._tracker.may_be_speaking
            and self._silence_ms() >= settings.soft_end_ms
            and turn.heard_until == self._tracker.words_until_sample
        )
        if words is None:
            if not is_over:
                self._pause(turn, speaking)
            elif self._tracker.speech_ms > settings.backchannel_max_ms:
                self._interrupt(turn, speaking)
            else:
                self._discard_overlap(turn, speaking, "backchannel")
        elif words and not is_backchannel(words):
            self._interrupt(turn, speaking)
        elif is_over:
            self._discard_overlap(turn, speaking, "backchannel" if words else "noise")

    def _pause(self, turn: OpenTurn, speaking: Speaking) -> None:
        if not speaking.is_paused:
            speaking.barge_in_ms = 1000.0 * (now_s() - self._time_of(turn.onset_sample))
        speaking.pause()

    def _interrupt(self, turn: OpenTurn, speaking: Speaking) -> None:
        self._pause(turn, speaking)
        if turn.goes_on:
            # They had not finished: the new words belong to the turn before.
            turn.before = self._ended_pcm
            turn.number, self._turns = speaking.number, speaking.number
            turn.replaces = self._last_item_id
            turn.speculations += 1
        forgotten = [turn.replaces] if turn.goes_on else []
        self._replies.cut(forgotten=forgotten, reopened=turn.goes_on)
        turn.heard_until = turn.weighed_until = -1  # hear it again as a turn, with all of its words

    def _go_on_speaking(self) -> None:
        """The speech that paused the reply is no matter any more."""
        if self._speaking is not None:
            self._speaking.resume()

    def _discard_overlap(self, turn: OpenTurn, speaking: Speaking, reason: str) -> None:
        self._discard(turn, reason)
        speaking.resume()

    # The end of a reply.

    def _on_quiet(self) -> None:
        """Nothing is being heard any more."""
        self._quiet_since_s = now_s()
        if self._open is not None and self._settings.ends_turns:
            self._on_turn_audio(self._open)

    def _check_idle(self) -> None:
        timeout_s, since_s = self._settings.idle_timeout_s, self._quiet_since_s
        if timeout_s and since_s is not None and self._speaking is None:
            idle_s = now_s() - since_s
            if idle_s >= timeout_s:
                self._quiet_since_s = None
                self._outbox.put(IdleTimeout(now_s(), idle_s))

    # Small matters.

    def _report(self, error: BacktalkError) -> None:
        self._outbox.put(SessionError(now_s(), getattr(error, "stage", "system"), str(error)))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _pcm(self, turn: OpenTurn) -> np.ndarray:
        return np.concatenate([turn.before, self._audio.since(turn.start_sample)])

    def _user_turn(self, turn: OpenTurn) -> UserTurn:
        return UserTurn(turn.number, self._pcm(turn), self._speech_samples(turn))

    def _speech_samples(self, turn: OpenTurn) -> int:
        return len(turn.before) + self._tracker.words_until_sample - turn.start_sample

    def _silence_ms(self) -> float:
        return self._ms(self._audio.end - self._tracker.last_speech_sample)

    def _time_of(self, sample: int) -> float:
        return self._fed_at_s - (self._audio.end - sample) / self.sample_rate_in

    def _ms(self, samples: int) -> float:
        return 1000.0 * samples / self.sample_rate_in

    def _samples(self, ms: float) -> int:
        return round(ms * self.sample_rate_in / 1000)
