"""The ears of an evaluation: a recogniser, DNSMOS and a speaker encoder, the same for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backtalk.audio.resample import resample
from backtalk.cascade.protocols import Asr
from backtalk.eval.answers import is_right
from backtalk.eval.replies import Reply
from backtalk.models.store import ModelStore
from backtalk.scorers.dnsmos import Dnsmos, SpeechQuality
from backtalk.scorers.speaker_encoder import SpeakerEncoder, similarity, unit

HEARING_RATE = 16_000
RECOGNISER = "whisper-base"
_SHORTEST_S = 0.1


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judges say of one reply.

    Attributes:
        heard: what the recogniser made of it, empty if nothing was audible.
        is_right: whether that answers the question.
        quality: None if nothing was audible.
        similarity: of the speaker to the answer voice, cosine; None if nothing was audible.
    """

    reply: Reply
    heard: str
    is_right: bool
    quality: SpeechQuality | None
    similarity: float | None


class Judges:
    """All three, and what the answer voice sounds like to them.

    Args:
        asr: hears replies at 16 kHz.
        samples: recordings of the answer voice, float32 [T] at 16 kHz, at least one.
    """

    def __init__(
        self, asr: Asr, dnsmos: Dnsmos, encoder: SpeakerEncoder, samples: Sequence[np.ndarray]
    ) -> None:
        assert asr.sample_rate == HEARING_RATE
        self._asr, self._dnsmos, self._encoder = asr, dnsmos, encoder
        self._voice = unit(np.mean([encoder.embed(pcm) for pcm in samples], axis=0))

    def judge(self, reply: Reply) -> Judgement:
        """Hear a reply and rate it."""
        if len(reply.pcm) < _SHORTEST_S * reply.sample_rate:
            return Judgement(reply, "", False, None, None)
        pcm = resample(reply.pcm, reply.sample_rate, HEARING_RATE)
        heard = self._asr.transcribe(pcm).text
        return Judgement(
            reply,
            heard,
            is_right(heard, reply.spoken.turn.key),
            self._dnsmos.rate(pcm),
            similarity(self._encoder.embed(pcm), self._voice),
        )


def load_judges(store: ModelStore, samples: Sequence[Reply]) -> Judges:
    """The judges from the store.

    Args:
        samples: of the answer voice.
    Raises:
        ModelError: a file is missing; says how to get it.
        ConfigError: torch is not installed.
    """
    from backtalk.cascade.whisper_asr import WhisperAsr

    return Judges(
        WhisperAsr(store.require(RECOGNISER)),
        Dnsmos(store.require("dnsmos")),
        SpeakerEncoder(store.require("resemblyzer")),
        [resample(reply.pcm, reply.sample_rate, HEARING_RATE) for reply in samples],
    )
