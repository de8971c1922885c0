"""Who asks: the user voices, and how each of them varies from dialogue to dialogue."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backtalk.train.minitalk.answer_voice import AnswerVoice
from backtalk.train.minitalk.spoken import Spoken

if TYPE_CHECKING:
    from backtalk.models.store import ModelStore

JOE = "joe"
JOE_SHARE = 0.5
ESPEAK = {
    "us": "en-us",
    "us-m3": "en-us+m3",
    "us-linda": "en-us+linda",
    "us-annie": "en-us+Annie",
    "us-klatt2": "en-us+klatt2",
    "us-klatt4": "en-us+klatt4",
    "uk-m7": "en+m7",
    "uk-belinda": "en-gb-x-rp+belinda",
}
"""Our names for espeak-ng voices.

Chosen among those that Whisper base understands best. The variants f2, f3, f5 and Alicia are not
here because they sound a little different in every process.
"""

USER_VOICES = (JOE, *ESPEAK)
LICENCES = {
    "joe": "Piper en_US-joe-medium: recordings CC0-1.0 (NabuCasa voice-datasets)",
    "heart": "hibari heart: Apache-2.0",
    "us..., uk...": "espeak-ng, a formant synthesiser without recordings: GPL-3.0-or-later program",
}


def draw_voice(random: Random) -> str:
    """One of `USER_VOICES`: Joe half of the time."""
    return JOE if random.random() < JOE_SHARE else random.choice(tuple(ESPEAK))


@dataclass(frozen=True, slots=True)
class Manner:
    """How a user speaks in one dialogue.

    Attributes:
        pace: times the voice's own.
        pitch: times the voice's own. Of Joe by playing him faster; espeak-ng has its own control.
        lead_s: silence before the first word.
        tail_s: silence after the last word.
        peak_dbfs: of the loudest sample.
        noise_snr_db: speech over noise, None for none.
        noise: `white` or `pink` (-3 dB per octave).
    """

    pace: float
    pitch: float
    lead_s: float
    tail_s: float
    peak_dbfs: float
    noise_snr_db: float | None
    noise: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def draw_manner(random: Random) -> Manner:
    """A manner of speaking, within what stays easy to understand."""
    return Manner(
        pace=round(random.uniform(0.9, 1.15), 3),
        pitch=round(random.uniform(0.9, 1.12), 3),
        lead_s=round(random.uniform(0.1, 0.3), 3),
        tail_s=round(random.uniform(0.1, 0.3), 3),
        peak_dbfs=round(random.uniform(-12.0, -3.0), 1),
        noise_snr_db=round(random.uniform(20.0, 40.0), 1) if random.random() < 0.5 else None,
        noise=random.choice(("white", "pink")),
    )


class Speakers(Protocol):
    """Everybody who speaks in a shard."""

    def ask(self, text: str, voice: str, manner: Manner, seed: int) -> Spoken:
        """A question at 16 kHz."""
        ...

    def answer(self, text: str, seed: int) -> Spoken:
        """An answer at 24 kHz."""
        ...


class RealSpeakers:
    """Piper's Joe, espeak-ng and hibari's heart.

    Args:
        store: where Joe's files are.
        seed: of what cannot be seeded sentence by sentence.
    Raises:
        ConfigError: a voice's package is not installed.
        ModelError: Joe's files are not in the store.
    """

    question_rate = 16_000
    words_per_minute = 150
    answer_lead_s, answer_tail_s = 0.02, 0.15

    def __init__(self, store: ModelStore, seed: int) -> None:
        from backtalk.train.minitalk.espeak_voice import EspeakVoices
        from backtalk.train.minitalk.piper_voice import PiperVoice

        self._joe = PiperVoice(store.require("piper-joe"), seed)
        self._espeak = EspeakVoices()
        self._heart = AnswerVoice()

    def ask(self, text: str, voice: str, manner: Manner, seed: int) -> Spoken:
        """A question at 16 kHz, with edges, level and noise of that manner."""
        if voice == JOE:
            # The tape makes him faster as well as higher, so he is asked to speak slower.
            spoken = self._joe.speak(text, manner.pace / manner.pitch).played_at(manner.pitch)
        else:
            rate = round(self.words_per_minute * manner.pace)
            pitch = round(50 + 200 * (manner.pitch - 1.0))
            spoken = self._espeak.speak(text, ESPEAK[voice], rate, pitch)
        spoken = spoken.resampled(self.question_rate).with_edges(manner.lead_s, manner.tail_s)
        return in_a_room(spoken, manner, np.random.default_rng(seed))

    def answer(self, text: str, seed: int) -> Spoken:
        """An answer at 24 kHz, as clean as the voice is."""
        spoken = self._heart.speak(text, seed)
        return spoken.with_edges(self.answer_lead_s, self.answer_tail_s)


def in_a_room(spoken: Spoken, manner: Manner, rng: np.random.Generator) -> Spoken:
    """Bring speech to its level and add its noise."""
    pcm = spoken.pcm * (10 ** (manner.peak_dbfs / 20) / max(float(np.abs(spoken.pcm).max()), 1e-6))
    if manner.noise_snr_db is not None:
        level = float(np.sqrt(np.mean(pcm**2))) * 10 ** (-manner.noise_snr_db / 20)
        pcm = pcm + level * _noise(len(pcm), manner.noise, rng)
    return Spoken(np.clip(pcm, -1.0, 1.0).astype(np.float32), spoken.sample_rate, spoken.words)


def _noise(samples: int, colour: str, rng: np.random.Generator) -> np.ndarray:
    """Noise of RMS 1, float64 [samples]."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    if colour == "pink":
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1 + len(spectrum) / 100))
    wave = np.fft.irfft(spectrum, samples)
    return wave / wave.std()


def seed_of(*names: object) -> int:
    """A seed of 31 bits from names, the same on every machine."""
    return zlib.crc32(":".join(map(str, names)).encode()) & 0x7FFFFFFF
