"""What a codec leaves of speech it never learned from: words, sound, voice, by codebooks.

Whole recordings of a corpus's test split, questions in many voices and answers in one, through
encoder and decoder. A recogniser hears words, DNSMOS rates the sound, a speaker encoder compares
the voice with that of the same recording, STOI (doi 10.1109/TASL.2011.2114881) the two signals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.audio.resample import resample
from backtalk.errors import ConfigError, ModelError
from backtalk.eval.judges import HEARING_RATE, RECOGNISER
from backtalk.latency.percentiles import percentiles
from backtalk.models.store import ModelStore
from backtalk.scorers.dnsmos import Dnsmos
from backtalk.scorers.speaker_encoder import SpeakerEncoder, similarity
from backtalk.scorers.spoken_words import spoken_words
from backtalk.train.minitalk.corpus import Corpus

if TYPE_CHECKING:
    from backtalk.cascade.protocols import Asr
    from backtalk.codecs.mimi.mimi_codec import MimiCodec


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A recording that is held out.

    Attributes:
        text: the words spoken in it.
        is_answer: by the one voice of all answers, not by a user.
        pcm: float32 [T] at `sample_rate`.
    """

    text: str
    is_answer: bool
    pcm: np.ndarray = field(repr=False)
    sample_rate: int


@dataclass(frozen=True, slots=True, eq=False)
class Ears:
    """Those who judge a recording, at 16 kHz."""

    asr: Asr
    dnsmos: Dnsmos
    encoder: SpeakerEncoder


def load_ears(store: ModelStore) -> Ears:
    """All of them from the store.

    Raises:
        ModelError: one is missing; says how to get it.
    """
    from backtalk.cascade.whisper_asr import WhisperAsr

    try:
        import pystoi  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModelError("STOI needs pystoi; run `pip install 'backtalk[eval]'`") from error
    return Ears(
        WhisperAsr(store.require(RECOGNISER)),
        Dnsmos(store.require("dnsmos")),
        SpeakerEncoder(store.require("resemblyzer")),
    )


def held_out_recordings(folder: Path, count: int) -> list[Held]:
    """The first recordings of a corpus's test split, question and answer in turn.

    Raises:
        ConfigError: there are fewer, or that is not a question and an answer.
        CorpusError: the folder is no corpus, or a shard is missing or damaged.
    """
    if count < 2:
        raise ConfigError(f"--recordings {count}: give 2 or more, a question and its answer")
    found = []
    for item in Corpus(folder).items("test"):
        for spoken in item.turns:
            for utterance in (spoken.question, spoken.answer):
                is_answer = utterance is spoken.answer
                found.append(Held(utterance.text, is_answer, *utterance.pcm()))
        if len(found) >= count:
            return found[:count]
    raise ConfigError(f"--recordings {count}: the test split of {folder} has {len(found)}")


def quality_rows(
    codec: MimiCodec,
    held: Sequence[Held],
    depths: Sequence[int],
    ears: Ears,
    show: Callable[[], None],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The recordings themselves, and what is left of them at every depth, for JSON.

    Args:
        show: told of every recording judged, `len(held) * (len(depths) + 1)` in all.
    """
    codes = [codec.encode(one.pcm, one.sample_rate) for one in held]
    sources = [resample(one.pcm, one.sample_rate, HEARING_RATE) for one in held]
    voices = [ears.encoder.embed(pcm) for pcm in sources]

    def row(remade: Callable[[int], np.ndarray]) -> dict[str, Any]:
        heard, scores = [], []
        for number in range(len(held)):
            pcm = remade(number)
            heard.append(ears.asr.transcribe(pcm).text)
            scores.append(_scores(ears, pcm, sources[number], voices[number]))
            show()
        return _summary(held, heard, scores)

    def decoded(depth: int) -> Callable[[int], np.ndarray]:
        return lambda number: codec.decode(codes[number][:depth], HEARING_RATE)

    rows = []
    for depth in depths:
        bits = depth * math.log2(codec.cardinality) * codec.frame_rate
        rows.append({"depth": depth, "bits_per_s": round(bits), **row(decoded(depth))})
    return row(lambda number: sources[number]), rows


def _scores(
    ears: Ears, pcm: np.ndarray, source: np.ndarray, voice: np.ndarray
) -> tuple[float, float, float]:
    from pystoi import stoi

    length = min(pcm.size, source.size)
    return (
        ears.dnsmos.rate(np.clip(pcm, -1, 1)).overall,
        similarity(ears.encoder.embed(pcm), voice),
        float(stoi(source[:length], pcm[:length], HEARING_RATE)),
    )


def _summary(
    held: Sequence[Held], heard: Sequence[str], scores: Sequence[tuple[float, float, float]]
) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(held), "wer": _word_errors(held, heard, (True, False))}
    found["wer_questions"] = _word_errors(held, heard, (False,))
    found["wer_answers"] = _word_errors(held, heard, (True,))
    for name, values in zip(
        ("dnsmos", "similarity", "stoi"), zip(*scores, strict=True), strict=True
    ):
        middle = percentiles(values)
        found[name] = None if middle is None else round(middle.p50, 3)
    return found


def _word_errors(held: Sequence[Held], heard: Sequence[str], kinds: Sequence[bool]) -> float:
    import jiwer

    pairs = [
        (" ".join(spoken_words(one.text)), " ".join(spoken_words(text)))
        for one, text in zip(held, heard, strict=True)
        if one.is_answer in kinds
    ]
    texts, found = zip(*pairs, strict=True)
    return round(float(jiwer.wer(list(texts), list(found))), 4)
