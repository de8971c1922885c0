"""The committed latency benchmark: `make bench` writes benchmarks/results/latency-*.{json,png}.

Three runs of `backtalk bench latency`, each in a process of its own; the first in real time, the
others with their silences skipped (`--fast`: work takes the time it takes, waiting takes none):

- plain: 30 questions; the default agent beside the same agent without speculation.
- pauses: 24 questions with a pause of 0.2 to 0.6 s in mid-sentence; the default agent, and beside
  it the same agent deciding by ear alone and by words alone.
- ladder: what each step saved, from a fixed wait with nothing done early to the default.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


RUNS: dict[str, tuple[str, list[str], list[str]]] = {
    "plain": ("questions/plain", ["speculate=false"], ["--turns", "30"]),
    "pauses": (
        "questions/pauses",
        ["complete_words_probability=0", "complete_sound_probability=0"],
        ["--fast"],
    ),
    "ladder": (
        "questions/plain",
        ["speculate=false,complete_wait_ms=700", "speculate=false", "quiet_below_db=200"],
        ["--fast", "--turns", "18"],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", default=list(RUNS), help=f"of {', '.join(RUNS)}")
    parser.add_argument("--turns", type=int, help="fewer questions, for a quick look")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    for name in arguments.runs:
        folder, variants, options = RUNS[name]
        command = [sys.executable, "-m", "backtalk", "bench", "latency", str(HERE / folder)]
        command += ["--out", str(arguments.out / f"latency-{name}")]
        for variant in variants:
            command += ["--compare", variant]
        command += ["--max-tokens", "10", *options]
        command += ["--turns", str(arguments.turns)] if arguments.turns else []
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
