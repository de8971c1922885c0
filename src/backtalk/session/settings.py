"""Every delay and bound of turn-taking, each with one name."""

from __future__ import annotations

from dataclasses import dataclass, fields

from backtalk.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """How a turn-based session listens, decides, speaks and yields.

    Hearing speech:
        speech_threshold: VAD probability from which a frame is speech.
        silence_threshold: probability below which it is silence again (between the two, the
            frame is taken like the one before it).
        speech_start_ms: speech needed before a turn is opened.
        pre_roll_ms: audio kept from before that, so that no first consonant is lost.

    Ending a turn (silence is counted from the last frame the VAD takes for speech, which ends
    about 100 ms after the last sample above -45 dBFS):
        quiet_below_db: fall in level, from the loudest of the stretch, at which what was said so
            far is recognised, before the VAD has decided that it is silence.
        hear_ms: silence after which it is judged whether the turn may be over.
        soft_end_ms: silence after which a reply is begun, unheard.
        complete_wait_ms: silence after which a turn that is complete by sound and words is over.
        incomplete_wait_ms: silence after which any turn is over.
        complete_sound_probability: what the turn detector must say for a turn to be complete.
        complete_words_probability: and what the language model must say of its words.
        speculate: False begins the reply only when the turn is over.
        ends_turns: False leaves the end of a turn to the client (`commit`, `end_turn`).
        replies: False leaves the reply to the client (`reply`).
        max_turn_ms: longest turn; it is over then, speaking or not.
        partial_every_ms: how often a long stretch of speech is recognised while it goes on.

    Being interrupted:
        yields: False lets a reply be spoken to its end, whatever the user says.
        barge_in_ms: speech over the reply before its words are looked at.
        barge_in_certain_ms: speech over the reply that stops it whatever the words.
        backchannel_max_ms: where no transcript is to be had, shorter speech than this over the
            reply is taken for "uh-huh".
        max_pause_ms: a reply that paused for speech goes on after this long if nothing was
            decided: the microphone was switched off, or the words never came.
        reopen_heard_ms: if the user goes on before this much of the reply was heard, they had not
            finished: their turn is reopened, not followed by another.
        reopen_within_ms: and only if they went on within this time of their last word.

    Speaking:
        max_unplayed_ms: reply audio sent ahead of what the listener has played.
        max_ready_ms: reply audio made ahead of what has been sent.
        piece_ms: size of the pieces in which audio is sent; a barge-in stops within one.

    Waiting:
        idle_timeout_s: silence on both sides after which `IdleTimeout` is emitted; 0 is never.
    """

    speech_threshold: float = 0.5
    silence_threshold: float = 0.5
    speech_start_ms: int = 64
    pre_roll_ms: int = 320

    quiet_below_db: float = 24.0
    hear_ms: int = 32
    soft_end_ms: int = 64
    complete_wait_ms: int = 128
    incomplete_wait_ms: int = 700
    complete_sound_probability: float = 0.3
    complete_words_probability: float = 0.25
    speculate: bool = True
    ends_turns: bool = True
    replies: bool = True
    max_turn_ms: int = 60_000
    partial_every_ms: int = 1500

    yields: bool = True
    barge_in_ms: int = 256
    barge_in_certain_ms: int = 800
    backchannel_max_ms: int = 500
    max_pause_ms: int = 5000
    reopen_heard_ms: int = 600
    reopen_within_ms: int = 1500

    max_unplayed_ms: int = 400
    max_ready_ms: int = 20_000
    piece_ms: int = 40

    idle_timeout_s: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith(("_ms", "_s")) and not 0 <= value < float("inf"):
                raise ConfigError(f"{field.name} must be 0 or more, not {value}")
            if field.name.endswith(("threshold", "probability")) and not 0 <= value <= 1:
                raise ConfigError(f"{field.name} must lie between 0 and 1, not {value}")
        _require_order(self, "silence_threshold", "speech_threshold")
        _require_order(self, "soft_end_ms", "complete_wait_ms")
        _require_order(self, "complete_wait_ms", "incomplete_wait_ms")
        for name in ("piece_ms", "max_unplayed_ms", "max_ready_ms", "max_turn_ms"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")


def _require_order(settings: TurnSettings, lower: str, upper: str) -> None:
    if getattr(settings, lower) > getattr(settings, upper):
        raise ConfigError(
            f"{lower} ({getattr(settings, lower)}) must not be above "
            f"{upper} ({getattr(settings, upper)})"
        )
