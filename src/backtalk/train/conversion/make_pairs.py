"""Makes a folder of pairs: what is missing of it, in parallel."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from backtalk.models.disk import is_disk_full
from backtalk.train.conversion.pair_files import (
    DESCRIPTION,
    PairSettings,
    has_shard,
    read_settings,
    write_shard,
)
from backtalk.train.conversion.teacher import ShardPlan, Split, Teacher
from backtalk.train.minitalk.corpus import write_whole
from backtalk.train.minitalk.workers import run_each
from backtalk.train.training_error import TrainingError

SHARD_S = 240.0
_HELD_OUT_SHARE, _HELD_OUT_S = 0.1, 480.0


def plan_shards(hours: float, seed: int) -> list[ShardPlan]:
    """The held-out ones first: a tenth of it, but no more than a few minutes."""
    train_s = hours * 3600
    held_out_s = min(_HELD_OUT_SHARE * train_s, _HELD_OUT_S)
    found = []
    totals: tuple[tuple[Split, float], ...] = (("held-out", held_out_s), ("train", train_s))
    for split, total_s in totals:
        shards = math.ceil(total_s / SHARD_S)
        found += [
            ShardPlan(split, number, shards, min(SHARD_S, total_s - number * SHARD_S), seed)
            for number in range(shards)
        ]
    return found


def make_pairs(
    folder: Path,
    teacher: Teacher,
    hours: float,
    seed: int,
    jobs: int,
    on_shard: Callable[[int, int], None],
) -> None:
    """Make all shards that are missing. Stopped at any moment and called again, it goes on.

    Args:
        jobs: processes at once.
        on_shard: told how many shards are there, of how many.
    Raises:
        TrainingError: the folder holds other pairs, or the disk is full.
        BacktalkError: a voice is missing or failed.
    """
    settings = PairSettings(teacher.samples, teacher.target, hours, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / DESCRIPTION).exists():
            if (found := read_settings(folder)) != settings:
                raise TrainingError(
                    f"{folder} holds other pairs ({found.teacher}, {found.hours:g} h, seed "
                    f"{found.seed}); give another --out"
                )
        else:
            write_whole(folder / DESCRIPTION, json.dumps(settings.as_dict()) + "\n")
        plans = plan_shards(hours, seed)
        missing = [plan for plan in plans if not has_shard(folder, plan)]
        there = len(plans) - len(missing)
        on_shard(there, len(plans))
        work = [(folder, teacher, plan) for plan in missing]
        for done, _ in enumerate(run_each(_make_shard, work, jobs), 1):
            on_shard(there + done, len(plans))
    except OSError as error:
        reason = "disk full" if is_disk_full(error) else error.strerror or str(error)
        raise TrainingError(
            f"pairs cannot be written to {folder} ({reason}); make room, or give another --out"
        ) from error


def _make_shard(folder: Path, teacher: Teacher, plan: ShardPlan) -> float:
    return write_shard(folder, plan, teacher.pairs(plan))
