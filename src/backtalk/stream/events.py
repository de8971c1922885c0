"""What a session tells its client: typed, timed events.

`at_s` is session time in seconds on the session's clock (monotonic, arbitrary zero); positions
inside the user's audio are given in samples since the session began.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backtalk.latency.record import TurnLatency


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events.

    Attributes:
        at_s: when the session emitted it, seconds on the session's clock.
    """

    at_s: float


@dataclass(frozen=True, slots=True)
class UserSpeechStarted(Event):
    """The user began to speak.

    Attributes:
        sample: position of the first speech sample in the user's audio.
        item_id: of the turn's entry in the memory, should it become one.
    """

    sample: int
    item_id: str


@dataclass(frozen=True, slots=True)
class UserTranscript(Event):
    """What the user was heard to say so far.

    Attributes:
        turn: number of the user's turn, from 1.
        final: True once the turn is over; earlier ones may still change.
        item_id: of the turn's entry in the memory, once it is over.
    """

    turn: int
    text: str
    final: bool
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class UserTurnEnded(Event):
    """The user's turn is over.

    Attributes:
        sample: position of the last speech sample in the user's audio (the latency clock's zero).
        item_id: of the turn's entry in the memory.
        replaces: the entry of the turn that this one reopened and contains, None if there is none.
    """

    turn: int
    sample: int
    item_id: str
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class TurnDiscarded(Event):
    """What sounded like speech was not a turn (noise, or a back-channel during the reply).

    Attributes:
        reason: `noise`, `backchannel`, `cleared` (by the client) or `failed` (the reply broke
            before any of it was heard).
        item_id: that the turn would have had; None if it was over before, and its reply came to
            nothing.
    """

    turn: int
    reason: str
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReplyStarted(Event):
    """A reply is certain: what follows of it is meant to be heard.

    Attributes:
        item_id: of its entry in the memory.
    """

    turn: int
    item_id: str


@dataclass(frozen=True, slots=True)
class ReplyText(Event):
    """A piece of the reply's text, in order, as it will be spoken."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio(Event):
    """A piece of the reply's sound.

    Attributes:
        pcm: float32 [T], -1..1, at the session's `sample_rate_out`.
        offset: position of its first sample in this reply. After a false interruption it goes
            back to the first sample that was not heard.
    """

    turn: int
    offset: int
    pcm: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReplyDone(Event):
    """All of the reply's audio has been sent.

    Attributes:
        error: why there is not more of it, None if it is complete.
    """

    turn: int
    samples: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ReplyPaused(Event):
    """The user may be interrupting: drop what is not yet played. More follows, or an interruption.

    Attributes:
        heard_samples: how much of the reply was heard.
    """

    turn: int
    heard_samples: int


@dataclass(frozen=True, slots=True)
class ReplyResumed(Event):
    """The interruption was a false one; `ReplyAudio` goes on from `heard_samples`."""

    turn: int
    heard_samples: int


@dataclass(frozen=True, slots=True)
class ReplyInterrupted(Event):
    """The user took the turn: drop what is not yet played; nothing more of this reply follows.

    Attributes:
        heard_text: the part of the reply that was heard; the history keeps only this.
        reopened: True when so little was heard that the user was in fact not finished: their
            new words are added to the turn before.
    """

    turn: int
    heard_samples: int
    heard_text: str
    reopened: bool


@dataclass(frozen=True, slots=True)
class ToolCall(Event):
    """The model asks for a tool; `TurnSession.tool_result` answers, and the reply goes on.

    Attributes:
        arguments: JSON text as the model wrote it.
    """

    turn: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class TurnMeasured(Event):
    """The turn's latency record, complete once its reply has been heard or cut."""

    turn: int
    latency: TurnLatency


@dataclass(frozen=True, slots=True)
class StepsMeasured(Event):
    """How a frame-clocked system kept time over its last steps.

    Attributes:
        steps: how many.
        step_p50_ms: median time of a step.
        step_p95_ms, step_p99_ms: 95th and 99th percentile.
        late_steps: steps that took longer than a frame lasts.
        floor_ms: delay no computer can remove: one frame and the lookahead.
        dropped_ms: input that was dropped meanwhile and has no output.
    """

    steps: int
    step_p50_ms: float
    step_p95_ms: float
    step_p99_ms: float
    late_steps: int
    floor_ms: float
    dropped_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class IdleTimeout(Event):
    """Nobody has spoken for the time the settings allow."""

    idle_s: float


@dataclass(frozen=True, slots=True)
class Overrun(Event):
    """Input came faster than a full-duplex system may lag: the oldest frames were dropped."""

    frames: int


@dataclass(frozen=True, slots=True)
class SessionError(Event):
    """A stage failed; the session goes on.

    Attributes:
        stage: which one (`asr`, `llm`, `tts`, `turn_detector`, `system`).
        message: one line that says what to do.
    """

    stage: str
    message: str
