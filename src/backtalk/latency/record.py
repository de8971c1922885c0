"""One turn's latency: marks on the critical path in, additive stages out.

Zero is the last sample of user speech. The marks of a turn are taken in the order in which the
reply has to pass through them, so the stages between them add up to `ttfa_ms` exactly, whatever
ran at the same time elsewhere. Work done early (inside the end-of-turn silence) shows as a short
stage followed by a `hold`, the time during which finished audio waited for the turn to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STAGES = (
    "end_of_turn_wait",
    "asr",
    "llm_first_token",
    "first_chunk",
    "tts_first_audio",
    "voice_conversion",
    "hold",
    "leading_silence",
    "transport",
)
"""Stages of a turn, in the order of the critical path.

end_of_turn_wait: silence before work on the reply began (what speculation shortens).
asr: until the final transcript. End-to-end systems: the speech encoder.
llm_first_token: until the language model's first token.
first_chunk: until the text had its first speakable chunk.
tts_first_audio: until the first synthesised sample.
voice_conversion: until the first sample in another voice, if replies are converted.
hold: finished audio waiting for the end of the turn to be certain.
leading_silence: inaudible samples (below -45 dBFS) at the start of the reply.
transport: from the session to the listener's loudspeaker.
"""


@dataclass(frozen=True, slots=True)
class TurnLatency:
    """What one turn cost.

    Attributes:
        stages_ms: milliseconds per stage of `STAGES`; they sum to `ttfa_ms`. A stage a system
            does not have is absent.
        ttfa_ms: last sample of user speech to first audible sample of the reply; None when the
            reply was never audible.
        compute_s: seconds the reply's stages were computing, first audio and all that followed.
        audio_s: seconds of reply audio made.
        underruns: times the listener had played everything sent while more was still to come.
        gap_p95_ms: 95th percentile of the time between chunks sent, None under two chunks.
        barge_in_ms: from the interrupting user's first speech sample to the reply's last audible
            one; None if nobody interrupted.
        speculations: replies started and thrown away before this one was kept.
        end_by_sound: probability that the turn was over, by ear; None if not asked.
        end_by_words: the same, by its words.
    """

    stages_ms: Mapping[str, float] = field(default_factory=dict)
    ttfa_ms: float | None = None
    compute_s: float = 0.0
    audio_s: float = 0.0
    underruns: int = 0
    gap_p95_ms: float | None = None
    barge_in_ms: float | None = None
    speculations: int = 0
    end_by_sound: float | None = None
    end_by_words: float | None = None

    @property
    def rtf(self) -> float | None:
        """Compute time over audio time, below 1 is faster than real time."""
        return self.compute_s / self.audio_s if self.audio_s else None


class CriticalPath:
    """Collects a turn's marks and turns them into stages.

    `reach(stage, at_s)` says that the stage was over at `at_s`. Marks may come out of order or
    twice; the first mark of a stage counts.
    """

    def __init__(self) -> None:
        self._reached_s: dict[str, float] = {}

    def reach(self, stage: str, at_s: float) -> None:
        """Note the moment a stage ended.

        Args:
            stage: one of `STAGES`.
            at_s: session time in seconds.
        Raises:
            ValueError: the stage is not in the vocabulary.
        """
        if stage not in STAGES:
            raise ValueError(f"{stage!r} is not a latency stage; use one of {', '.join(STAGES)}")
        self._reached_s.setdefault(stage, at_s)

    def stages_ms(self, zero_s: float) -> dict[str, float]:
        """Milliseconds per stage reached, in path order.

        A stage that was over before the one ahead of it on the path took no time on the critical
        path: it counts 0, and its successor is measured from the later of the two.

        Args:
            zero_s: session time of the last sample of user speech.
        """
        stages: dict[str, float] = {}
        previous_s = zero_s
        for stage in STAGES:
            if stage in self._reached_s:
                reached_s = max(self._reached_s[stage], previous_s)
                stages[stage] = 1000.0 * (reached_s - previous_s)
                previous_s = reached_s
        return stages
