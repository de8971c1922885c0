"""What the LLVC paper (arXiv 2311.00873) leaves open, by a short training run for each.

    python benchmarks/run_llvc_questions.py --pairs pairs --work runs

How much data a voice needs, what noise in the input does to it and what learning with noise is good
for, and what going on with a single source speaker does. The first four runs begin from nothing,
the last two with the voice that is shipped, all without judges, which are about sound and not about
these questions. A run that was interrupted goes on, and one that is finished is only listened to.
Needs `pip install 'backtalk[train,eval]'` and `backtalk models get --set eval`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from run_llvc_voice import held_out_pairs

from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.stream import convert
from backtalk.llvc.voice_file import find_voice, read_voice
from backtalk.machine import describe_machine
from backtalk.models.store import ModelStore
from backtalk.train.conversion.conversion_scores import ConversionJudge, RealEars
from backtalk.train.conversion.pair_files import open_pairs
from backtalk.train.conversion.pair_windows import with_noise
from backtalk.train.conversion.teacher import Pair

RESULTS = Path(__file__).parent / "results" / "llvc-questions.json"
NOISE_SNR_DB = 10
NO_NOISE_SNR_DB = 100
SHOWN = ("wer", "to_target", "to_source", "dnsmos")


@dataclass(frozen=True, slots=True)
class Run:
    """A voice that is trained.

    Attributes:
        name: its folder, and its row of the table.
        settings: of the recipe, where it is not as usual.
        goes_on: begins with the shipped voice.
    """

    name: str
    settings: Mapping[str, object]
    goes_on: bool = False


RUNS = (
    Run("6-minutes", {"hours": 0.1}),
    Run("18-minutes", {"hours": 0.3}),
    Run("all-pairs", {}),
    Run("all-pairs-without-noise", {"noise_snr_db": NO_NOISE_SNR_DB}),
    Run("on-with-all-speakers", {"learning_rate": 3e-4}, goes_on=True),
    Run("on-with-one-speaker", {"learning_rate": 3e-4, "heard": "joe"}, goes_on=True),
)


def train(run: Run, pairs: Path, folder: Path, begin_with: Path, steps: int) -> Path:
    """Run the recipe in a process of its own, on one thread.

    Returns:
        The voice.
    """
    settings = {
        "steps": steps,
        "judge_from_step": steps,
        "score_every": steps,
        "scored_pairs": 2,
        **run.settings,
        **({"begin_with": begin_with} if run.goes_on else {}),
    }
    command = [sys.executable, "-m", "backtalk", "train", "llvc", "--data", str(pairs)]
    command += ["--out", str(folder), "--threads", "1"]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    subprocess.run(command, check=True)
    return folder / "model.safetensors"


def listened_to(
    converted: Callable[[np.ndarray], np.ndarray], judges: Mapping[str, ConversionJudge]
) -> dict[str, Any]:
    """Scores of what is made of every group of pairs."""
    found = {}
    for group, judge in judges.items():
        scores = judge.scores([converted(pair.heard) for pair in judge.pairs])
        found[group] = {name: round(scores[name], 4) for name in SHOWN}
    return found


def groups_of(pairs: list[Pair]) -> dict[str, list[Pair]]:
    """By speaker, and all in noise."""
    random = np.random.default_rng(0)
    noisy = [replace(pair, heard=with_noise(pair.heard, NOISE_SNR_DB, random)) for pair in pairs]
    by_voice = {
        voice: [pair for pair in pairs if pair.voice == voice]
        for voice in sorted({pair.voice for pair in pairs})
    }
    return {**by_voice, f"noise at {NOISE_SNR_DB} dB": noisy}


def main() -> None:
    """Train, listen, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="what llvc-data has made")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--steps", type=int, default=2000, help="of a run from nothing")
    parser.add_argument("--further-steps", type=int, default=1000, help="of a run that goes on")
    parser.add_argument("--count", type=int, default=40, help="of the held-out pairs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    store = ModelStore.default()
    shipped = find_voice(store, None)
    voices = {"shipped": (0, shipped)}
    for run in RUNS:
        steps = arguments.further_steps if run.goes_on else arguments.steps
        folder = arguments.work / run.name
        voices[run.name] = (steps, train(run, arguments.pairs, folder, shipped, steps))
    ears = RealEars(store)
    groups = groups_of(held_out_pairs(arguments.pairs, arguments.count))
    judges = {group: ConversionJudge(ears, pairs) for group, pairs in groups.items()}
    unchanged = listened_to(lambda heard: heard, judges)
    rows = [{"voice": "the source itself", "steps": 0, "scores": unchanged}]
    for name, (steps, path) in voices.items():
        engine = LlvcEngine(read_voice(path), chunk_factor=4)
        scores = listened_to(partial(convert, engine), judges)
        rows.append({"voice": name, "steps": steps, "scores": scores})
    for row in rows:
        print(json.dumps(row), flush=True)
    report = {
        "pairs": {group: len(judge.pairs) for group, judge in judges.items()},
        "hours_of_all_pairs": round(open_pairs(arguments.pairs, "train").hours, 3),
        "rows": rows,
        "machine": describe_machine(),
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
