"""How long from the user's last word to the agent's first, over many recorded questions.

First audio is measured in the recording of each conversation: last sample of the question above
-45 dBFS to first sample of the reply above -45 dBFS. The stages come from the session's own clock
and are made to add up to that. Variants of the settings take turns, conversation by conversation,
in one process and on one agent, so that a noisy machine is noisy for all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.files import read_audio
from backtalk.audio.recorder import ConversationRecorder
from backtalk.errors import AudioError
from backtalk.latency.percentiles import Percentiles, percentiles
from backtalk.latency.table import stage_percentiles
from backtalk.machine import describe_machine, rss_mib
from backtalk.session.detectors import VoiceActivityDetector
from backtalk.session.settings import TurnSettings
from backtalk.session.turn_session import TurnSession
from backtalk.systems import Agent, TurnAgent
from backtalk.talk import Exchange, Question, RecordedConversation

QUESTIONS_PER_CONVERSATION = 6
REST_S = 10.0
"""How long the idle pipeline is watched for its processor use."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the agent; the first one is what the others are compared with."""

    name: str
    settings: TurnSettings


@dataclass(slots=True)
class VariantResult:
    """All exchanges of one variant, and what they add up to."""

    variant: Variant
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def answered(self) -> list[Exchange]:
        """Those with a reply that was heard after the question."""
        return [e for e in self.exchanges if e.ttfa_ms is not None and e.latency is not None]

    def turns(self) -> list[tuple[dict[str, float], float]]:
        """Stages and time to first audio of every answered question, ms."""
        return [(e.stages_ms(), e.ttfa_ms) for e in self.answered if e.ttfa_ms is not None]

    def stats(self) -> dict[str, Percentiles]:
        """Percentiles of every stage and of first audio."""
        turns = self.turns()
        return stage_percentiles([s for s, _ in turns], [ttfa for _, ttfa in turns])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rtfs = [e.latency.rtf for e in self.answered if e.latency is not None]
        rtf = percentiles(value for value in rtfs if value is not None)
        cpu = percentiles(e.loop_cpu_ms for e in self.answered if e.loop_cpu_ms is not None)
        return {
            "variant": self.variant.name,
            "questions": len(self.exchanges),
            "answered": len(self.answered),
            "cut": [e.question for e in self.exchanges if e.was_cut],
            "unanswered": [e.question for e in self.exchanges if e not in self.answered],
            "errors": [error for e in self.exchanges for error in e.errors],
            "underruns": sum(e.latency.underruns for e in self.answered if e.latency),
            "speculations_thrown_away": sum(
                e.latency.speculations for e in self.answered if e.latency
            ),
            "rtf": rtf.as_dict(4) if rtf else None,
            "pipeline_cpu_ms": cpu.as_dict(2) if cpu else None,
            "stages_ms": {name: p.as_dict() for name, p in self.stats().items()},
            "turns": [
                {
                    "question": e.question,
                    "transcript": e.transcript,
                    "reply": " ".join(e.reply.split()),
                    "ttfa_ms": round(e.ttfa_ms or 0.0, 1),
                    "stages_ms": {name: round(ms, 1) for name, ms in e.stages_ms().items()},
                    "end_by_sound": e.latency and e.latency.end_by_sound,
                    "end_by_words": e.latency and e.latency.end_by_words,
                }
                for e in self.answered
            ],
        }


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the pipeline itself costs, models aside: processor time of the event loop's thread.

    Attributes:
        rest_percent_of_core: while nobody speaks, the VAD left out.
        vad_percent_of_core: the VAD, the one model that runs on that thread.
        rss_mib: memory of the whole process, models included.
    """

    rest_percent_of_core: float
    vad_percent_of_core: float
    rss_mib: float


def read_questions(folder: Path, turns: int | None) -> list[Question]:
    """All recordings of a folder in order of name, repeated or cut to `turns`.

    Raises:
        AudioError: no such folder, or nothing in it that can be read.
    """
    if not folder.is_dir():
        raise AudioError(f"{folder} is not a folder; give one with recorded questions")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".wav", ".flac", ".ogg"))
    if not paths:
        raise AudioError(f"{folder} has no recordings; put .wav, .flac or .ogg files there")
    questions = [Question(path.stem, read_audio(path)) for path in paths]
    count = turns if turns is not None else len(questions)
    return [questions[n % len(questions)] for n in range(count)]


async def measure_latency(
    agent: Agent,
    questions: Sequence[Question],
    variants: Sequence[Variant],
    on_exchange: Callable[[Variant, Exchange], None],
) -> list[VariantResult]:
    """Hold conversations of a few questions each, every variant in turn."""
    results = [VariantResult(variant) for variant in variants]
    for at in range(0, len(questions), QUESTIONS_PER_CONVERSATION):
        few = questions[at : at + QUESTIONS_PER_CONVERSATION]
        for result in results:
            session = agent.open_session(result.variant.settings)
            exchanges = await RecordedConversation(session, ConversationRecorder()).hold(few)
            result.exchanges.extend(exchanges)
            for exchange in exchanges:
                on_exchange(result.variant, exchange)
    return results


async def measure_overhead(agent: TurnAgent, settings: TurnSettings) -> Overhead:
    """Feed silence in real time and see how busy the event loop's thread is."""
    vad = _TimedVad(agent.vad)
    session = TurnSession(agent.responder, vad, agent.turn_detector, settings)
    chunk = np.zeros(session.sample_rate_in // 50, np.float32)
    began_s, began_cpu_s = time.monotonic(), time.thread_time()
    for n in range(round(REST_S * 50)):
        await session.feed(chunk)
        await asyncio.sleep(max(0.0, began_s + (n + 1) / 50 - time.monotonic()))
    cpu_s, wall_s = time.thread_time() - began_cpu_s, time.monotonic() - began_s
    await session.close()
    return Overhead(100.0 * (cpu_s - vad.cpu_s) / wall_s, 100.0 * vad.cpu_s / wall_s, rss_mib())


class _TimedVad:
    """A VAD that counts its own processor time."""

    def __init__(self, vad: VoiceActivityDetector) -> None:
        self.sample_rate, self.frame_size = vad.sample_rate, vad.frame_size
        self.new_state = vad.new_state
        self._vad = vad
        self.cpu_s = 0.0

    def step(self, state: Any, frame: np.ndarray) -> tuple[float, Any]:
        began_s = time.thread_time()
        result = self._vad.step(state, frame)
        self.cpu_s += time.thread_time() - began_s
        return result


def report(
    agent: Agent, results: Sequence[VariantResult], overhead: Overhead | None
) -> dict[str, Any]:
    """One object for JSON: what was measured, on what, with which models."""
    return {
        "bench": "latency",
        "system": agent.name,
        "models": agent.details,
        "machine": describe_machine(),
        "overhead": None
        if overhead is None
        else {
            "rest_percent_of_core": round(overhead.rest_percent_of_core, 2),
            "vad_percent_of_core": round(overhead.vad_percent_of_core, 2),
            "rss_mib": round(overhead.rss_mib),
        },
        "variants": [result.as_dict() for result in results],
    }
