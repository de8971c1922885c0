"""Makes one shard: draws its dialogues, has them spoken, writes them down."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from backtalk.train.minitalk.plan import ShardPlan, plan_dialogues
from backtalk.train.minitalk.shard_file import ShardWriter
from backtalk.train.minitalk.splits import turn_split
from backtalk.train.minitalk.voices import RealSpeakers, Speakers, draw_manner, seed_of


@dataclass(frozen=True, slots=True)
class ShardMade:
    """What a shard holds and what it cost.

    Attributes:
        cpu_s: processor time of the whole process, loading the voices included.
    """

    question_s: float
    answer_s: float
    cpu_s: float


def make_shard(plan: ShardPlan, path: Path) -> ShardMade:
    """Make it with the real voices. Call it in a fresh process: espeak-ng has hidden state.

    Raises:
        BacktalkError: a voice is missing or failed.
        OSError: the shard cannot be written.
    """
    from backtalk.models.store import ModelStore

    speakers = RealSpeakers(ModelStore.default(), seed_of(plan.seed, plan.name))
    return make_shard_with(speakers, plan, path)


def make_shard_with(speakers: Speakers, plan: ShardPlan, path: Path) -> ShardMade:
    """Make it with these speakers."""
    question_s = answer_s = 0.0
    with ShardWriter(path) as writer:
        for name, dialogue, random in plan_dialogues(plan):
            manner = draw_manner(random)
            turns = []
            for number, turn in enumerate(dialogue.turns, 1):
                seed = seed_of(plan.seed, name, number)
                question = speakers.ask(turn.question, dialogue.voice, manner, seed)
                answer = speakers.answer(turn.answer, seed)
                question_s += question.duration_s
                answer_s += answer.duration_s
                turns.append((turn, question, answer, turn_split(turn) == plan.split != "train"))
            writer.add(name, plan.split, dialogue.voice, manner.as_dict(), turns)
    return ShardMade(question_s, answer_s, time.process_time())
