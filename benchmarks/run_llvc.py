"""Repeats the committed LLVC benchmark: time per step beside the authors' streaming loop.

The authors' code is needed for the comparison: `git clone https://github.com/KoeAI/LLVC`, and
`pip install 'backtalk[models]'`. Takes about two minutes; leave the machine alone meanwhile.

    python benchmarks/run_llvc.py --reference LLVC
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backtalk.cli.bench_llvc import llvc

RESULTS = Path(__file__).parent / "results"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, help="folder of the clone")
    parser.add_argument("--factors", default="1,2,4,8")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--prenet", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "llvc")
    arguments = parser.parse_args()
    llvc(
        factors=arguments.factors,
        rounds=arguments.rounds,
        prenet=arguments.prenet,
        reference=arguments.reference,
        out=arguments.out,
    )
