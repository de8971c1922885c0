"""CSM speaking at several depths: how soon, how fast, how evenly, and the paper's figure of noise.

What i-LAVA (arXiv 2509.20971) reports for its voice, measured the same way but by pieces of one to
eight frames instead of twenty, with medians over sentences instead of one run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from backtalk.audio.wada_snr import wada_snr_db

if TYPE_CHECKING:
    from backtalk.csm.files import CsmParts

SENTENCES = (
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Hello, how can I help you today?",
    "It will rain in the morning, but the afternoon should be dry and mild.",
)

SAMPLE_RATE = 24_000


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One row of the paper's tables IV and V."""

    device: str
    depth: int
    first_chunk_ms: float
    rtf: float
    wada_snr_db: float


PAPER = (
    PaperRow("L4", 32, 1381.9, 0.785, 33.115),
    PaperRow("L4", 24, 1172.3, 0.574, 22.817),
    PaperRow("L4", 20, 1105.4, 0.571, 14.844),
    PaperRow("L4", 16, 640.9, 0.480, 7.158),
    PaperRow("M4 Max", 32, 2662.5, 1.489, 34.404),
    PaperRow("M4 Max", 24, 2172.3, 1.236, 24.569),
    PaperRow("M4 Max", 20, 1855.0, 1.143, 10.525),
    PaperRow("M4 Max", 16, 1748.6, 0.934, 15.459),
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One sentence at one depth.

    Attributes:
        at_ms: when each piece of sound was there, from the text on.
        audio_ms: length of each piece.
        wada_snr_db: of the whole sentence.
        pcm: float32 [T] at 24 kHz, the whole sentence.
    """

    at_ms: list[float]
    audio_ms: list[float]
    wada_snr_db: float
    pcm: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32), repr=False)

    @property
    def rtf(self) -> float:
        """Compute over audio."""
        return self.at_ms[-1] / sum(self.audio_ms)

    @property
    def gaps_ms(self) -> list[float]:
        """Between one piece and the next."""
        return [later - at for at, later in zip(self.at_ms[:-1], self.at_ms[1:], strict=True)]

    def underruns_ms(self) -> list[float]:
        """How long the listener waited, each time the sound ran out before the next piece."""
        ends_ms, waits = self.at_ms[0], []
        for at_ms, audio_ms in zip(self.at_ms, self.audio_ms, strict=True):
            if at_ms > ends_ms:
                waits.append(at_ms - ends_ms)
            ends_ms = max(ends_ms, at_ms) + audio_ms
        return waits


def speak_timed(
    pieces: Callable[[], Any], clock_s: Callable[[], float] = time.perf_counter
) -> Spoken:
    """Time the pieces of one sentence.

    Args:
        pieces: begins to speak; yields float32 [T] at 24 kHz.
        clock_s: for tests.
    """
    began_s = clock_s()
    at_ms, sound = [], []
    for pcm in pieces():
        at_ms.append(1000 * (clock_s() - began_s))
        sound.append(pcm)
    audio_ms = [1000 * pcm.size / SAMPLE_RATE for pcm in sound]
    pcm = np.concatenate(sound)
    return Spoken(at_ms, audio_ms, wada_snr_db(pcm), pcm)


def measure_rvq(
    parts: CsmParts,
    depths: Sequence[int | str],
    sentences: Sequence[str] = SENTENCES,
    temperature: float = 0.9,
    show: Callable[[str], None] = lambda line: None,
) -> dict[int | str, list[Spoken]]:
    """Speak every sentence at every depth in turn, after one that does not count.

    Args:
        parts: a loaded model.
        depths: codes per frame, or `auto`.
        temperature: of the draws.
        show: told of every sentence spoken.
    """
    from backtalk.csm.depth_policy import DepthFollowsBuffer, FixedDepth, FrameTimes
    from backtalk.csm.speaker import CsmSpeaker, SpeakerSettings

    times = FrameTimes()
    codebooks = parts.csm.config.codebooks

    def speaker_at(depth: int | str) -> CsmSpeaker:
        return CsmSpeaker(
            parts.csm,
            parts.mimi.decoder,
            parts.tokens,
            SpeakerSettings(temperature=temperature, feedback=parts.feedback),
            lambda buffer: (
                DepthFollowsBuffer(buffer, codebooks, times=times)
                if depth == "auto"
                else FixedDepth(min(int(depth), codebooks))
            ),
        )

    speakers = {depth: speaker_at(depth) for depth in depths}
    spoken: dict[int | str, list[Spoken]] = {depth: [] for depth in depths}
    for depth, speaker in speakers.items():
        for _piece in speaker.say("Hello."):
            pass
        show(f"N = {depth}: warmed up")
    for sentence in sentences:
        for depth, speaker in speakers.items():
            speaker.begin_reply()
            spoken[depth].append(speak_timed(partial(speaker.say, sentence)))
            show(f"N = {depth}: rtf {spoken[depth][-1].rtf:.2f}")
    return spoken


def rvq_row(depth: int | str, spoken: Sequence[Spoken]) -> dict[str, Any]:
    """What is reported of one depth, for JSON."""
    gaps = sorted(gap for one in spoken for gap in one.gaps_ms)
    pieces = [length for one in spoken for length in one.audio_ms]
    waits = [wait for one in spoken for wait in one.underruns_ms()]
    row = {
        "depth": depth,
        "n": len(spoken),
        "first_chunk_ms": statistics.median(one.at_ms[0] for one in spoken),
        "rtf": statistics.median(one.rtf for one in spoken),
        "chunk_ms_mean": statistics.fmean(pieces),
        "inter_chunk_ms_mean": statistics.fmean(gaps) if gaps else 0.0,
        "inter_chunk_ms_p95": float(np.percentile(gaps, 95)) if gaps else 0.0,
        "inter_chunk_ms_max": gaps[-1] if gaps else 0.0,
        "underruns": len(waits),
        "underrun_ms": sum(waits),
        "wada_snr_db": statistics.median(one.wada_snr_db for one in spoken),
    }
    return {
        key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()
    }
