"""How good conversions are, in the ears of a recogniser, a speaker encoder and DNSMOS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from backtalk.models.store import ModelStore
from backtalk.scorers.dnsmos import Dnsmos
from backtalk.scorers.speaker_encoder import SpeakerEncoder, similarity, unit
from backtalk.scorers.spoken_words import spoken_words
from backtalk.train.conversion.teacher import Pair

_RECOGNISER = "whisper-base"


class Ears(Protocol):
    """Who judges; all sound is float32 [T] at 16 kHz."""

    def words(self, pcm: np.ndarray) -> list[str]:
        """What is said."""
        ...

    def speaker(self, pcm: np.ndarray) -> np.ndarray:
        """Who says it: a vector of length 1."""
        ...

    def quality(self, pcm: np.ndarray) -> float:
        """How it sounds, 1 (bad) to 5."""
        ...


class RealEars:
    """Whisper base, Resemblyzer and DNSMOS.

    Raises:
        ModelError: a file is missing from the store; says how to get it.
        ConfigError: a package is missing.
    """

    def __init__(self, store: ModelStore) -> None:
        from backtalk.cascade.whisper_asr import WhisperAsr

        self._asr = WhisperAsr(store.require(_RECOGNISER))
        self._encoder = SpeakerEncoder(store.require("resemblyzer"))
        self._dnsmos = Dnsmos(store.require("dnsmos"))

    def words(self, pcm: np.ndarray) -> list[str]:
        """See `Ears`."""
        return spoken_words(self._asr.transcribe(pcm).text)

    def speaker(self, pcm: np.ndarray) -> np.ndarray:
        """See `Ears`."""
        return self._encoder.embed(pcm)

    def quality(self, pcm: np.ndarray) -> float:
        """See `Ears`."""
        return self._dnsmos.rate(pcm).overall


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What the ears say of a pair, whatever is made of it.

    Attributes:
        heard_errors: words of the text that the recogniser does not hear in the source.
    """

    pair: Pair
    text: list[str]
    heard_errors: int
    heard_speaker: np.ndarray
    heard_quality: float
    said_speaker: np.ndarray
    said_quality: float


class ConversionJudge:
    """Compares conversions of some pairs with their sources and the teacher's.

    Args:
        pairs: at least one, with texts or without; error rates count those with.
    Attributes:
        pairs: as given.
    """

    def __init__(self, ears: Ears, pairs: Sequence[Pair]) -> None:
        self._ears = ears
        self.pairs = tuple(pairs)
        self._known = [self._listen(pair) for pair in pairs]
        self._target = unit(np.mean([known.said_speaker for known in self._known], axis=0))

    def scores(self, converted: Sequence[np.ndarray]) -> dict[str, float]:
        """Scores of the conversions of the pairs, in their order.

        Returns:
            Word error rates (`wer`, `wer_source`), cosines of speakers (`to_target`, `to_source`;
            of the unconverted source `source_to_target`; of the teacher's own
            `teacher_to_target`; by voice `to_target_VOICE`), and DNSMOS (`dnsmos`,
            `dnsmos_source`, `dnsmos_teacher`).
        """
        found: dict[str, list[float]] = defaultdict(list)
        errors = 0
        for known, pcm in zip(self._known, converted, strict=True):
            speaker = self._ears.speaker(pcm)
            to_target = similarity(speaker, self._target)
            found["to_target"].append(to_target)
            found[f"to_target_{known.pair.voice}"].append(to_target)
            found["to_source"].append(similarity(speaker, known.heard_speaker))
            found["source_to_target"].append(similarity(known.heard_speaker, self._target))
            found["teacher_to_target"].append(similarity(known.said_speaker, self._target))
            found["dnsmos"].append(self._ears.quality(pcm))
            found["dnsmos_source"].append(known.heard_quality)
            found["dnsmos_teacher"].append(known.said_quality)
            errors += word_errors(known.text, self._ears.words(pcm)) if known.text else 0
        scores = {name: float(np.mean(values)) for name, values in found.items()}
        if words := sum(len(known.text) for known in self._known):
            heard_errors = sum(known.heard_errors for known in self._known)
            scores |= {"wer": errors / words, "wer_source": heard_errors / words}
        return scores

    def _listen(self, pair: Pair) -> Known:
        text = spoken_words(pair.text)
        return Known(
            pair,
            text,
            word_errors(text, self._ears.words(pair.heard)) if text else 0,
            self._ears.speaker(pair.heard),
            self._ears.quality(pair.heard),
            self._ears.speaker(pair.said),
            self._ears.quality(pair.said),
        )


def word_errors(text: Sequence[str], heard: Sequence[str]) -> int:
    """Words put in, left out or taken for others, at least."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(text, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]
