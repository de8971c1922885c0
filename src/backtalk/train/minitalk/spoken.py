"""A sentence as sound, with the time of each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from backtalk.audio.level import first_audible_sample, last_audible_sample
from backtalk.audio.resample import resample
from backtalk.errors import StageError

PUNCTUATION = frozenset(".,;:!?\"'()")


@dataclass(frozen=True, slots=True)
class Word:
    """When a word is said, seconds from the first sample."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Sound:
    """A phoneme, a space or a mark as a voice speaks it, seconds from the first sample."""

    symbol: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """One spoken sentence.

    Attributes:
        pcm: float32 [T] at `sample_rate`.
        words: in order, one for every word of the text; empty if the voice ran words together, so
            that its sounds do not show where each begins.
    """

    pcm: np.ndarray = field(repr=False)
    sample_rate: int
    words: tuple[Word, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.pcm.size / self.sample_rate

    def played_at(self, factor: float) -> Spoken:
        """Played `factor` times as fast: pitch and pace rise together, as on a tape."""
        rate = round(self.sample_rate * factor)
        pcm = resample(self.pcm, rate, self.sample_rate)
        true_factor = rate / self.sample_rate
        words = tuple(
            Word(word.text, word.start_s / true_factor, word.end_s / true_factor)
            for word in self.words
        )
        return replace(self, pcm=pcm, words=words)

    def resampled(self, sample_rate: int) -> Spoken:
        """The same sound at another rate, Hz."""
        pcm = resample(self.pcm, self.sample_rate, sample_rate)
        return replace(self, pcm=pcm, sample_rate=sample_rate)

    def with_edges(self, lead_s: float, tail_s: float) -> Spoken:
        """Silence of exactly these lengths around what is audible.

        Raises:
            StageError: nothing is audible.
        """
        first = first_audible_sample(self.pcm, self.sample_rate)
        last = last_audible_sample(self.pcm, self.sample_rate)
        if first is None or last is None:
            raise StageError("tts", "the voice made no sound")
        lead, tail = round(lead_s * self.sample_rate), round(tail_s * self.sample_rate)
        padded = np.pad(self.pcm, (lead, tail))
        pcm = padded[first : last + 1 + lead + tail]
        moved_s = (lead - first) / self.sample_rate
        from_s, until_s = lead / self.sample_rate, (len(pcm) - tail) / self.sample_rate
        words = tuple(
            Word(
                word.text,
                round(min(max(word.start_s + moved_s, from_s), until_s), 4),
                round(min(max(word.end_s + moved_s, from_s), until_s), 4),
            )
            for word in self.words
        )
        return replace(self, pcm=pcm, words=words)


def words_of(text: str) -> list[str]:
    """The words of a text, without its punctuation."""
    stripped = (word.strip("".join(PUNCTUATION)) for word in text.split())
    return [word for word in stripped if word]


def time_words(text: str, sounds: Sequence[Sound]) -> tuple[Word, ...]:
    """Put words and sounds together, a word for every run of phonemes between two spaces.

    Returns:
        The words; none if there are not as many runs as words.
    """
    runs: list[list[Sound]] = [[]]
    for sound in sounds:
        if sound.symbol == " ":
            runs.append([])
        elif sound.symbol not in PUNCTUATION:
            runs[-1].append(sound)
    spoken = [run for run in runs if run]
    words = words_of(text)
    if len(spoken) != len(words):
        return ()
    return tuple(
        Word(word, run[0].start_s, run[-1].end_s) for word, run in zip(words, spoken, strict=True)
    )
