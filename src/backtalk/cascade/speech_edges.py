"""Fits the silence at both ends of a synthesised chunk: none before it, a natural pause after it.

Synthesisers surround every utterance with silence (hibari: 190 to 320 ms before, 270 to 460 ms
after, whatever the punctuation). Before the first chunk that silence is pure latency; between two
chunks of one sentence it is a hole in the reply.
"""

from __future__ import annotations

import numpy as np

from backtalk.audio.level import last_audible_sample, trim_leading_silence

# Pauses hibari itself makes inside one utterance: 380 to 420 ms between two sentences, 0 to 310 ms
# at a comma. A cut without punctuation is no pause at all, but the voice must be allowed to decay.
PAUSE_AFTER_SENTENCE_MS = 350
PAUSE_AFTER_CLAUSE_MS = 180
PAUSE_AFTER_WORD_MS = 80
_CLOSERS = "\"'”’)]} \t\n"
_FADE_OUT_MS = 10


def pause_after_ms(text: str) -> int:
    """Milliseconds of silence that belong after `text`, by its last punctuation mark."""
    last = text.rstrip(_CLOSERS)[-1:]
    if last and last in ".!?…":
        return PAUSE_AFTER_SENTENCE_MS
    if last and last in ",;:—–":
        return PAUSE_AFTER_CLAUSE_MS
    return PAUSE_AFTER_WORD_MS


def fit_edges(pcm: np.ndarray, sample_rate: int, pause_ms: float) -> np.ndarray:
    """Remove the silence before the speech and shorten the silence after it.

    Silence is never added: a chunk that ends sooner keeps its own end. The new end is faded over
    10 ms, so the cut cannot click.

    Args:
        pcm: float32 [T] at `sample_rate`, one utterance.
        pause_ms: silence to keep after the last audible sample (see `pause_after_ms`).
    Returns:
        float32 [T' <= T]; empty if nothing in it is audible.
    """
    last = last_audible_sample(pcm, sample_rate)
    if last is None:
        return np.zeros(0, np.float32)
    end = last + 1 + round(pause_ms * sample_rate / 1000)
    if end < len(pcm):
        pcm = pcm[:end].copy()
        fade = min(round(_FADE_OUT_MS * sample_rate / 1000), len(pcm))
        pcm[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return trim_leading_silence(pcm, sample_rate, keep_ms=10)
