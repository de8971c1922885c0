"""WADA-SNR: the signal-to-noise ratio of speech, guessed from how its samples are distributed.

Speech is taken for a Gamma distribution of shape 0.4, noise for a Gaussian. The more Gaussian the
samples, the more noise. It hears nothing, has no idea of words, and breaks on digital silence: at a
true 15 dB, 1 % of samples that are exactly zero read as 21 dB, 5 % as 100 dB. It is here because
i-LAVA (arXiv 2509.20971) reports it, not because it says how good speech sounds.

Source: Kim and Stern, "Robust signal-to-noise ratio estimation based on waveform amplitude
distribution analysis", Interspeech 2008. Its table is recomputed here from the model.
"""

from __future__ import annotations

import functools
import math

import numpy as np

LOWEST_DB, HIGHEST_DB = -20, 100
"""The range of the answer; what is beyond is reported as these."""

_SHAPE = 0.4
_EULER = 0.5772156649015329
_TERMS = 240
_NEAR = 60.0


def wada_snr_db(pcm: np.ndarray) -> float:
    """Guess the ratio of a whole recording.

    Args:
        pcm: float32 [T], any rate and level. Trim silence and dither first (see the module).
    Returns:
        dB, -20 to 100; -20 if there is no sound at all.
    """
    loudest = float(np.abs(pcm).max(initial=0.0))
    if loudest == 0.0:
        return float(LOWEST_DB)
    levels = np.maximum(np.abs(pcm.astype(np.float64)) / loudest, 1e-10)
    statistic = math.log(levels.mean()) - float(np.log(levels).mean())
    return float(np.interp(statistic, snr_curve(), np.arange(LOWEST_DB, HIGHEST_DB + 1)))


@functools.cache
def snr_curve() -> np.ndarray:
    """The statistic ln E|x| - E ln|x| at every dB of the range, rising: float64 [121]."""
    # s = u^(1/a) takes the singularity of the density at 0 away.
    u = (np.arange(3000) + 0.5) * (45.0**_SHAPE / 3000)
    speech = u ** (1.0 / _SHAPE)
    weight = np.exp(-speech)
    weight /= weight.sum()
    decibels = range(LOWEST_DB, HIGHEST_DB + 1)
    return np.array([_statistic(speech, weight, db) for db in decibels])


def _statistic(speech: np.ndarray, weight: np.ndarray, snr_db: float) -> float:
    sigma = math.sqrt(_SHAPE * (_SHAPE + 1.0) / 10.0 ** (snr_db / 10.0))
    ratio = speech / sigma
    gaussian = sigma * math.sqrt(2.0 / math.pi) * np.exp(-(ratio**2) / 2.0)
    erf = np.array([math.erf(x) for x in ratio / math.sqrt(2.0)])
    mean = float(weight @ (gaussian + speech * erf))
    return math.log(mean) - float(weight @ (math.log(sigma) + _mean_log_noncentral(ratio)))


def _mean_log_noncentral(ratio: np.ndarray) -> np.ndarray:
    """E ln|ratio + n| of a standard normal n: a Poisson mixture near 0, a series far from it."""
    rate = ratio**2 / 2.0
    near = rate < _NEAR
    means = np.empty_like(ratio)
    inverse = 1.0 / ratio[~near] ** 2
    series = inverse / 2.0 + 3.0 * inverse**2 / 4.0 + 15.0 * inverse**3 / 6.0
    means[~near] = np.log(ratio[~near]) - series
    # psi(k + 1/2), by psi(x + 1) = psi(x) + 1 / x from psi(1/2)
    k = np.arange(_TERMS)
    psi = -_EULER - 2.0 * math.log(2.0) + np.concatenate(([0.0], np.cumsum(1.0 / (k[:-1] + 0.5))))
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(k[1:]))))
    log_rate = np.log(np.maximum(rate[near], 1e-300))
    poisson = np.exp(k * log_rate[:, None] - rate[near][:, None] - log_factorial)
    means[near] = 0.5 * (poisson @ (psi + math.log(2.0)))
    return means
