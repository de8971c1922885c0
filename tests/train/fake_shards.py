"""Shards made in no time by a fake voice, and ways to fail while making them.

The functions are passed to fresh processes, so they are functions of a module.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from random import Random

import numpy as np

from backtalk.train.minitalk.grammar import draw_dialogue
from backtalk.train.minitalk.make_shard import ShardMade, make_shard_with
from backtalk.train.minitalk.plan import ShardPlan
from backtalk.train.minitalk.shard_file import ShardWriter
from backtalk.train.minitalk.spoken import Spoken, Word, words_of
from backtalk.train.minitalk.voices import Manner, draw_voice

WORD_S = 0.05


class FakeSpeakers:
    """Every word is 50 ms of noise."""

    def ask(self, text: str, voice: str, manner: Manner, seed: int) -> Spoken:
        return say(text, 16_000, seed)

    def answer(self, text: str, seed: int) -> Spoken:
        return say(text, 24_000, seed)


def say(text: str, sample_rate: int, seed: int = 0) -> Spoken:
    words = words_of(text)
    samples = round(WORD_S * sample_rate) * len(words)
    pcm = np.random.default_rng(seed).uniform(-0.3, 0.3, samples).astype(np.float32)
    times = tuple(Word(w, n * WORD_S, (n + 1) * WORD_S) for n, w in enumerate(words))
    return Spoken(pcm, sample_rate, times)


def make_fake(plan: ShardPlan, path: Path) -> ShardMade:
    return make_shard_with(FakeSpeakers(), plan, path)


def make_slowly(plan: ShardPlan, path: Path) -> ShardMade:
    time.sleep(0.3)
    return make_fake(plan, path)


def make_until_killed(plan: ShardPlan, path: Path) -> ShardMade:
    """The process that makes the training shard dies when half of it is written."""
    if plan.split == "train":
        path.with_name(f"{path.name}.1.partial").write_bytes(b"half a shard")
        os.kill(os.getpid(), signal.SIGKILL)
    return make_fake(plan, path)


def make_on_full_disk(plan: ShardPlan, path: Path) -> ShardMade:
    """The disk is full when the training shard is half written."""
    if plan.split == "train":

        class FullSpeakers(FakeSpeakers):
            asked = 0

            def ask(self, text: str, voice: str, manner: Manner, seed: int) -> Spoken:
                self.asked += 1
                if self.asked == 5:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().ask(text, voice, manner, seed)

        return make_shard_with(FullSpeakers(), plan, path)
    return make_fake(plan, path)


def make_a_leak(plan: ShardPlan, path: Path) -> ShardMade:
    """Teaches everything, as a generator would that had forgotten about splits."""
    if plan.split != "train":
        return make_fake(plan, path)
    with ShardWriter(path) as writer:
        for number in range(plan.dialogues):
            random = Random(f"leak:{number}")
            turns = []
            for _ in range(40):
                for turn in draw_dialogue(random, draw_voice(random)).turns:
                    question, answer = say(turn.question, 16_000), say(turn.answer, 24_000)
                    turns.append((turn, question, answer, False))
            writer.add(f"{plan.name}-{number:04d}", plan.split, "joe", {}, turns)
    return ShardMade(1.0, 1.0, 1.0)


def make_wrongly(plan: ShardPlan, path: Path) -> ShardMade:
    raise ZeroDivisionError("a bug")
