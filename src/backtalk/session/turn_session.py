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
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError, SessionClosedError
from backtalk.latency.record import TurnLatency
from backtalk.session.backchannel import is_backchannel
from backtalk.session.detectors import TurnDetector, VoiceActivityDetector
from backtalk.session.endpoint import EndEvidence, required_silence_ms
from backtalk.session.reply import Reply
from backtalk.session.responder import Responder, SettledTurn, UserTurn, WordsSoFar
from backtalk.session.session import checked_pcm
from backtalk.session.settings import TurnSettings
from backtalk.session.speaking import Speaking
from backtalk.session.speech_tracker import SpeechTracker
from backtalk.session.turn_audio import TurnAudio
from backtalk.stream.clock import now_s
from backtalk.stream.events import (
    Event,
    IdleTimeout,
    ReplyInterrupted,
    SessionError,
    TurnDiscarded,
    TurnMeasured,
    UserSpeechStarted,
    UserTranscript,
    UserTurnEnded,
)
from backtalk.stream.outbox import Outbox
from backtalk.stream.worker import ModelWorker


@dataclass
class _OpenTurn:
    """The user's turn that is not over yet.

    Attributes:
        start_sample: where its audio begins, pre-roll included.
        before: audio of the turn it reopened, to which it belongs.
        onset_sample: its first speech sample.
        goes_on: its speech came so soon that it may be the rest of the turn before.
        words: what was last recognised, None if nothing was.
        heard_until: up to which sample its words were last given to be recognised.
        weighed_until: and up to which they were given to be judged as well.
        judge_at_ms: speech over the reply at which its words are looked at next.
    """

    number: int
    start_sample: int
    onset_sample: int
    before: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    goes_on: bool = False
    draft: Reply | None = None
    words: str | None = None
    heard_until: int = -1
    weighed_until: int = -1
    hearings: int = 0
    evidence: EndEvidence = field(default_factory=EndEvidence)
    asked_until: int = -1
    judge_at_ms: float = 0.0
    speculations: int = 0
    is_forced: bool = False


class TurnSession:
    """A session with a turn-based system (see `session.Session` for what clients may call).

    Args:
        responder: the system, loaded and warm.
        vad: finds speech; its sample rate must be the responder's.
        turn_detector: judges by ear whether a turn is complete; None leaves it to silence alone.
        settings: every delay of turn-taking.
    Raises:
        ValueError: the detectors hear at another sample rate than the responder.
    """

    def __init__(
        self,
        responder: Responder,
        vad: VoiceActivityDetector,
        turn_detector: TurnDetector | None,
        settings: TurnSettings | None = None,
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
        self._conversation = responder.open()
        self._detector = turn_detector
        self._detector_worker = ModelWorker("turn-detector")
        self._settings = settings or TurnSettings()
        self._tracker = SpeechTracker(vad, self._settings)
        self._audio = TurnAudio()
        self._outbox = Outbox()
        self._fed_at_s = now_s()
        self._turns = 0
        self._open: _OpenTurn | None = None
        self._speaking: Speaking | None = None
        self._ended_at_sample = 0
        self._ended_pcm = np.zeros(0, np.float32)
        self._zero_s = 0.0
        self._measured: dict[int, _OpenTurn] = {}
        self._quiet_since_s: float | None = now_s()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies: set[Reply] = set()
        self._is_closed = False

    # What the client calls.

    async def feed(self, pcm: np.ndarray) -> None:
        """Hear more of the user; see `Session.feed`."""
        if self._is_closed:
            raise SessionClosedError(f"the {self.system} session is closed; open another one")
        pcm = checked_pcm(pcm)
        self._audio.append(pcm)
        self._fed_at_s = now_s()
        started = self._tracker.push(pcm)
        if started:
            self._quiet_since_s = None
            self._on_speech_started()
        if self._open is None:
            keep = self._samples(self._settings.pre_roll_ms + self._settings.speech_start_ms + 100)
            self._audio.forget_before(self._audio.end - keep)
            self._check_idle()
        else:
            self._on_turn_audio(self._open)
        await asyncio.sleep(0)

    async def end_turn(self) -> None:
        """The client says that the user's turn is over (push to talk)."""
        if self._open is not None and self._speaking is None:
            self._open.is_forced = True
            self._on_turn_audio(self._open)

    def events(self) -> AsyncIterator[Event]:
        """Events in order; see `Session.events`."""
        return self._outbox.read()

    def played(self, turn: int, samples: int) -> None:
        """The listener's report; see `Session.played`."""
        if self._speaking is not None and self._speaking.number == turn:
            self._speaking.played(samples)

    def tool_result(self, call_id: str, output: str) -> None:
        """Answer a `ToolCall` event; the reply goes on."""
        self._conversation.tool_result(call_id, output)

    async def close(self) -> None:
        """Stop all work and end `events`. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._speaking is not None:
            self._speaking.stop()
        for reply in self._replies:
            reply.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*[reply.closed() for reply in self._replies])
        await self._conversation.close()
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
        turn = _OpenTurn(self._turns, start, onset, judge_at_ms=self._settings.barge_in_ms)
        self._open = turn
        speaking = self._speaking
        if speaking is not None:
            since_end_ms = self._ms(onset - self._ended_at_sample)
            heard_ms = 1000.0 * speaking.heard_samples() / self.sample_rate_out
            turn.goes_on = (
                since_end_ms <= self._settings.reopen_within_ms
                and heard_ms <= self._settings.reopen_heard_ms
            )
        self._outbox.put(UserSpeechStarted(now_s(), onset))

    def _on_turn_audio(self, turn: _OpenTurn) -> None:
        settings = self._settings
        if self._speaking is not None:
            self._on_overlap(turn, self._speaking)
            return
        if self._tracker.is_speaking and not turn.is_forced:
            if self._ms(self._audio.end - max(turn.start_sample, 0)) >= settings.max_turn_ms:
                turn.is_forced = True
            elif (
                self._ms(
                    self._tracker.last_speech_sample - max(turn.heard_until, turn.onset_sample)
                )
                >= settings.partial_every_ms
            ):
                self._hear(turn, weighs=False)
            elif settings.speculate and self._tracker.is_quiet:
                self._hear(turn, weighs=False)
        silence_ms = self._silence_ms()
        if turn.is_forced or not self._tracker.may_be_speaking:
            if silence_ms >= settings.hear_ms:
                self._ask_detector(turn)
                if settings.speculate:
                    self._hear(turn, weighs=True)
            may_begin = settings.speculate and silence_ms >= settings.soft_end_ms
            if turn.draft is None and (may_begin or self._is_over(turn)):
                self._begin_draft(turn)
        self._try_commit()

    def _is_over(self, turn: _OpenTurn) -> bool:
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
        self._open = None
        self._zero_s = self._time_of(self._tracker.last_speech_sample)
        if draft.transcript == "":
            self._discard(turn, "noise")
            return
        self._ended_at_sample = self._tracker.last_speech_sample
        self._ended_pcm = self._pcm(turn)
        self._measured = {turn.number: turn}
        if draft.transcript is not None:
            self._outbox.put(UserTranscript(now_s(), turn.number, draft.transcript, final=True))
        self._outbox.put(UserTurnEnded(now_s(), turn.number, self._ended_at_sample))
        self._speaking = Speaking(draft, self._outbox, self._settings, self._on_speaking_ended)

    def _begin_draft(self, turn: _OpenTurn) -> None:
        turn.draft = Reply(
            self._user_turn(turn),
            self._conversation,
            self.sample_rate_out,
            self._settings.max_ready_ms / 1000,
            self._on_reply_changed,
        )
        self._replies.add(turn.draft)
        turn.draft.when_ended(self._replies.discard)

    def _drop_draft(self, turn: _OpenTurn) -> None:
        if turn.draft is not None:
            turn.draft.cancel()
            turn.draft = None
            turn.speculations += 1
        turn.evidence = EndEvidence()

    def _discard(self, turn: _OpenTurn, reason: str) -> None:
        self._drop_draft(turn)
        self._open = None
        self._quiet_since_s = now_s()
        self._outbox.put(TurnDiscarded(now_s(), turn.number, reason))

    def _on_reply_changed(self, reply: Reply) -> None:
        if self._speaking is not None and self._speaking.reply is reply:
            self._speaking.changed()
        else:
            self._try_commit()

    # Listening with the models.

    def _hear(self, turn: _OpenTurn, *, weighs: bool) -> None:
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

    async def _heard(self, turn: _OpenTurn, user_turn: UserTurn, weighs: bool) -> None:
        heard: WordsSoFar | None = None
        try:
            heard = await self._conversation.hear(user_turn, weighs=weighs)
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

    def _ask_detector(self, turn: _OpenTurn) -> None:
        until = self._tracker.last_speech_sample
        if self._detector is not None and turn.asked_until != until and not turn.is_forced:
            turn.asked_until = until
            self._start(self._detected(turn, until, self._pcm(turn)))

    async def _detected(self, turn: _OpenTurn, until: int, pcm: np.ndarray) -> None:
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

    def _on_overlap(self, turn: _OpenTurn, speaking: Speaking) -> None:
        settings, speech_ms = self._settings, self._tracker.speech_ms
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

    def _judge_overlap(self, turn: _OpenTurn, speaking: Speaking, words: str | None) -> None:
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

    def _pause(self, turn: _OpenTurn, speaking: Speaking) -> None:
        if not speaking.is_paused:
            speaking.barge_in_ms = 1000.0 * (now_s() - self._time_of(turn.onset_sample))
        speaking.pause()

    def _interrupt(self, turn: _OpenTurn, speaking: Speaking) -> None:
        self._pause(turn, speaking)
        heard = speaking.stop()
        text = speaking.reply.text_until(heard)
        self._speaking = None
        if turn.goes_on:
            # They had not finished: the new words belong to the turn before.
            turn.before = self._ended_pcm
            turn.number, self._turns = speaking.number, speaking.number
        else:
            self._settle(speaking, text, is_complete=False)
        self._outbox.put(ReplyInterrupted(now_s(), speaking.number, heard, text, turn.goes_on))
        turn.speculations += 1 if turn.goes_on else 0
        turn.heard_until = turn.weighed_until = -1  # hear it again as a turn, with all of its words

    def _discard_overlap(self, turn: _OpenTurn, speaking: Speaking, reason: str) -> None:
        self._discard(turn, reason)
        speaking.resume()

    # The end of a reply.

    def _on_speaking_ended(self, speaking: Speaking) -> None:
        self._speaking = None
        reply = speaking.reply
        if reply.error is not None:
            self._report(reply.error)
        if reply.transcript == "":
            self._outbox.put(TurnDiscarded(now_s(), speaking.number, "noise"))
        else:
            # A whole reply is remembered as it was written: the language model's prompt cache
            # then knows it.
            is_complete = reply.error is None
            spoken = reply.text_until(reply.produced_samples)
            written = "".join(reply.said).strip()
            self._settle(speaking, written if is_complete else spoken, is_complete=is_complete)
            if reply.error is not None and not reply.produced_samples:
                self._outbox.put(TurnDiscarded(now_s(), speaking.number, "failed"))
        self._quiet_since_s = now_s()
        if self._open is not None:
            self._on_turn_audio(self._open)

    def _settle(self, speaking: Speaking, heard_text: str, *, is_complete: bool) -> None:
        reply, number = speaking.reply, speaking.number
        self._conversation.settle(SettledTurn(number, heard_text, is_complete))
        turn = self._measured.pop(number, None)
        stages_ms = reply.path.stages_ms(self._zero_s)
        is_audible = "leading_silence" in stages_ms
        latency = TurnLatency(
            stages_ms=stages_ms,
            ttfa_ms=sum(stages_ms.values()) if is_audible else None,
            compute_s=reply.compute_s,
            audio_s=reply.produced_samples / self.sample_rate_out,
            underruns=speaking.playout.underruns,
            gap_p95_ms=reply.gap_p95_ms(),
            barge_in_ms=speaking.barge_in_ms,
            speculations=turn.speculations if turn else 0,
            end_by_sound=turn.evidence.sound if turn else None,
            end_by_words=turn.evidence.words if turn else None,
        )
        self._outbox.put(TurnMeasured(now_s(), number, latency))

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

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _pcm(self, turn: _OpenTurn) -> np.ndarray:
        return np.concatenate([turn.before, self._audio.since(turn.start_sample)])

    def _user_turn(self, turn: _OpenTurn) -> UserTurn:
        return UserTurn(turn.number, self._pcm(turn), self._speech_samples(turn))

    def _speech_samples(self, turn: _OpenTurn) -> int:
        return len(turn.before) + self._tracker.words_until_sample - turn.start_sample

    def _silence_ms(self) -> float:
        return self._ms(self._audio.end - self._tracker.last_speech_sample)

    def _time_of(self, sample: int) -> float:
        return self._fed_at_s - (self._audio.end - sample) / self.sample_rate_in

    def _ms(self, samples: int) -> float:
        return 1000.0 * samples / self.sample_rate_in

    def _samples(self, ms: float) -> int:
        return round(ms * self.sample_rate_in / 1000)
