"""Windows of pairs for a step, and what is done to what is heard: other throats, rooms and noises.

Only the input is changed (and the level of both), so the target stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backtalk.llvc.config import SAMPLE_RATE
from backtalk.train.conversion.pair_files import Pairs

_LOUDEST = 0.99
_FFT, _HOP = 512, 128
_ENVELOPE_TERMS = 40
_EQUALISER_BANDS = 6


@dataclass(frozen=True, slots=True)
class Disguise:
    """How far what is heard may be changed.

    Attributes:
        gain_db: level, up or down, of both sides alike.
        formants: resonances are moved by a factor between 1 / (1 + it) and 1 + it.
        equaliser_db: of a few bands, up or down.
        noise_snr_db: the loudest noise; up to 30 dB less of it is as likely.
        share: of windows to which each of the last three happens.
    """

    gain_db: float
    formants: float
    equaliser_db: float
    noise_snr_db: float
    share: float


class PairWindows:
    """Draws windows; the same for the same generator."""

    def __init__(self, pairs: Pairs) -> None:
        self._places = [(shard, entry) for shard in pairs.shards for entry in shard.entries]
        self._ends = np.cumsum([entry.end - entry.begin for _, entry in self._places])

    def draw(
        self, count: int, samples: int, disguise: Disguise, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random windows inside utterances, every second of speech as likely as any other.

        Returns:
            What is heard and what should be said, float32 [count, samples] each; an utterance that
            is shorter lies at the beginning, before silence.
        """
        both = np.zeros((count, samples, 2), np.float32)
        for window in both:
            at = random.integers(self._ends[-1])
            shard, entry = self._places[int(np.searchsorted(self._ends, at, side="right"))]
            spare = max(0, entry.end - entry.begin - samples)
            first = entry.begin + int(random.integers(spare + 1))
            found = shard.pcm[first : min(first + samples, entry.end)]
            window[: len(found)] = found.astype(np.float32) / 32768.0
            gain = 10 ** (random.uniform(-disguise.gain_db, disguise.gain_db) / 20)
            window *= min(gain, _LOUDEST / max(float(np.abs(window).max()), 1e-9))
        heard = np.stack([_disguised(row, disguise, random) for row in both[..., 0]])
        return heard, np.ascontiguousarray(both[..., 1])


def _disguised(pcm: np.ndarray, disguise: Disguise, random: np.random.Generator) -> np.ndarray:
    if random.random() < disguise.share:
        furthest = np.log(1 + disguise.formants)
        pcm = with_formants(pcm, float(np.exp(random.uniform(-furthest, furthest))))
    if random.random() < disguise.share:
        gains_db = random.uniform(-disguise.equaliser_db, disguise.equaliser_db, _EQUALISER_BANDS)
        pcm = equalised(pcm, gains_db)
    if random.random() < disguise.share:
        pcm = with_noise(pcm, disguise.noise_snr_db + random.uniform(0, 30), random)
    peak = max(float(np.abs(pcm).max()), 1e-9)
    return (pcm * np.float32(min(1.0, _LOUDEST / peak))).astype(np.float32)


def with_formants(pcm: np.ndarray, factor: float) -> np.ndarray:
    """The same with its resonances at other frequencies and its pitch where it was.

    The smooth part of every short spectrum (the first terms of its cepstrum) is stretched.

    Args:
        pcm: float32 [T].
        factor: of the frequencies.
    """
    window = np.hanning(_FFT + 1)[:-1]
    padded = np.pad(pcm, (_FFT, _FFT + -len(pcm) % _HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    spectra = np.fft.rfft(frames * window, axis=1)
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + 1e-5), axis=1)
    cepstra[:, _ENVELOPE_TERMS : _FFT - _ENVELOPE_TERMS + 1] = 0
    smooth = np.fft.rfft(cepstra, axis=1).real
    bins = spectra.shape[1]
    at = np.clip(np.arange(bins) / factor, 0, bins - 1)
    below = np.minimum(at.astype(np.int64), bins - 2)
    moved = smooth[:, below] * (1 - at + below) + smooth[:, below + 1] * (at - below)
    spectra *= np.exp(np.clip(moved - smooth, -4.0, 4.0))
    pieces = np.fft.irfft(spectra, axis=1) * window
    made = np.zeros(len(padded))
    for at_frame, piece in enumerate(pieces):
        made[at_frame * _HOP : at_frame * _HOP + _FFT] += piece
    # Squared windows at a quarter's distance add up to 1.5.
    return (made[_FFT : _FFT + len(pcm)] / 1.5).astype(np.float32)


def equalised(pcm: np.ndarray, gains_db: np.ndarray) -> np.ndarray:
    """Through a filter with these gains, evenly spread in mel, and lines between them."""
    spectrum = np.fft.rfft(pcm)
    mel = np.log1p(np.linspace(0, SAMPLE_RATE / 2, len(spectrum)) / 700)
    gain_db = np.interp(mel, np.linspace(0, mel[-1], len(gains_db)), gains_db)
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(pcm)).astype(np.float32)


def with_noise(pcm: np.ndarray, snr_db: float, random: np.random.Generator) -> np.ndarray:
    """With white or pink noise beneath it."""
    spectrum = np.fft.rfft(random.standard_normal(len(pcm)))
    if random.random() < 0.5:
        spectrum /= np.sqrt(1 + np.arange(len(spectrum)))
    noise = np.fft.irfft(spectrum, len(pcm))
    level = np.sqrt(np.mean(np.square(pcm, dtype=np.float64))) * 10 ** (-snr_db / 20)
    return (pcm + level * noise / max(float(noise.std()), 1e-9)).astype(np.float32)
