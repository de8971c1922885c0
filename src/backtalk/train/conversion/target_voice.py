"""The target: hibari's `heart`, taken apart into pitch, spectra and the time of every sound.

The network says the spectrum of a voice's pulses, of its noise, and the pitch, frame by frame
(https://github.com/MMWilliams/hibari, Apache-2.0). So the same sentence can be said with another
melody, and by somebody with a longer throat, at exactly the same moments: sound for sound, a pair.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backtalk.audio.resample import resample
from backtalk.errors import StageError
from backtalk.llvc.config import SAMPLE_RATE
from backtalk.train.minitalk.answer_voice import UNIT_S, open_hibari
from backtalk.train.minitalk.spoken import Sound

FRAME_S = 0.0125
PITCH_HZ = 190.0
"""The geometric mean of the voice."""

VOICED_FROM_HZ = 40.0
_BIN_HZ, _BINS = 20.0, 601
_HIGHEST_HARMONIC_HZ = 11_000.0


@dataclass(frozen=True, slots=True)
class Body:
    """Who says it, next to the voice itself.

    Attributes:
        formants: resonances times the voice's own; below 1 for a longer throat.
        tilt_db: more in the highest frequency than in the lowest.
        breath_db: more noise beside the pulses.
    """

    formants: float = 1.0
    tilt_db: float = 0.0
    breath_db: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sentence:
    """A sentence as the network would have it said.

    Attributes:
        spectra: five arrays float32 [601, F], in the order of `hibari.dsp.synth`: logarithm and
            phase of the pulses' spectrum, logarithm of the noise's, and of the rest both.
        pitch_hz: float32 [F], 0 where there are no pulses.
        sounds: phonemes with their times; also spaces and marks.
    """

    spectra: tuple[np.ndarray, ...] = field(repr=False)
    pitch_hz: np.ndarray = field(repr=False)
    sounds: tuple[Sound, ...] = field(repr=False)

    @property
    def samples(self) -> int:
        """At 16 kHz."""
        return round(len(self.pitch_hz) * FRAME_S * SAMPLE_RATE)


class TargetVoice:
    """Plans sentences.

    Raises:
        ConfigError: hibari is of a version whose network is built otherwise.
    """

    def __init__(self) -> None:
        self._hibari, self._network = open_hibari()

    def plan(self, text: str, pace: float) -> Sentence:
        """A sentence, `pace` times as fast as the voice's own.

        Raises:
            StageError: there is nothing to say in it.
        """
        phonemes = [symbol for symbol in self._hibari.g2p(text) if symbol in self._hibari.vocab]
        ids = self._hibari.ids(phonemes)
        if len(ids) < 3:
            raise StageError("tts", f"hibari has nothing to say in {text!r}")
        feeds = {"ids": np.asarray([ids], np.int64), "speed": np.asarray([pace], np.float32)}
        *spectra, pitch_hz, durations = self._network.run(None, feeds)
        ends_s = np.cumsum(durations) * UNIT_S
        # Each end stands for a phoneme's id; the first and the last id are silence.
        sounds = tuple(
            Sound(symbol, float(ends_s[n]), float(ends_s[n + 1]))
            for n, symbol in enumerate(phonemes)
        )
        return Sentence(tuple(part[0] for part in spectra), pitch_hz[0], sounds)


def say(
    sentence: Sentence,
    random: np.random.Generator,
    pitch_hz: np.ndarray | None = None,
    body: Body | None = None,
) -> np.ndarray:
    """A sentence as sound.

    Args:
        random: of the noise.
        pitch_hz: float32 [F], another melody; its voiced frames should be the sentence's own.
        body: of another speaker.
    Returns:
        float32 [T] at 16 kHz.
    """
    from hibari import dsp

    pulses, phase, noise, rest, rest_phase = sentence.spectra
    if pitch_hz is not None:
        # Between its harmonics the network was never told what the spectrum should be.
        pulses = envelope(pulses, sentence.pitch_hz)
    if body is not None:
        tilt = body.tilt_db * np.linspace(-0.5, 0.5, _BINS)[:, None]
        pulses, noise, rest = (
            stretched(part, body.formants) + np.float32(np.log(10) / 20) * (tilt + extra_db)
            for part, extra_db in ((pulses, 0.0), (noise, body.breath_db), (rest, 0.0))
        )
    melody = sentence.pitch_hz if pitch_hz is None else pitch_hz
    parts = (np.asarray(part, np.float32) for part in (pulses, phase, noise, rest, rest_phase))
    pcm = dsp.synth(*parts, np.asarray(melody, np.float32), random)
    return resample(np.asarray(pcm, np.float32), dsp.SR, SAMPLE_RATE)[: sentence.samples]


def envelope(log_spectrum: np.ndarray, pitch_hz: np.ndarray) -> np.ndarray:
    """The spectrum at the harmonics, joined by lines: [601, F] for a pitch of float [F]."""
    bins_hz = np.arange(_BINS) * _BIN_HZ
    joined = log_spectrum.copy()
    for frame in np.flatnonzero(pitch_hz > VOICED_FROM_HZ):
        harmonics_hz = np.arange(pitch_hz[frame], _HIGHEST_HARMONIC_HZ, pitch_hz[frame])
        at_harmonics = np.interp(harmonics_hz, bins_hz, log_spectrum[:, frame])
        joined[:, frame] = np.interp(bins_hz, harmonics_hz, at_harmonics)
    return joined


def stretched(log_spectrum: np.ndarray, factor: float) -> np.ndarray:
    """The spectrum with all frequencies times a factor: [601, F]."""
    at = np.clip(np.arange(_BINS) / factor, 0, _BINS - 1)
    below = np.minimum(at.astype(np.int64), _BINS - 2)
    share = (at - below)[:, None].astype(np.float32)
    found: np.ndarray = log_spectrum[below] * (1 - share) + log_spectrum[below + 1] * share
    return found
