"""Repeats the committed codec benchmark: Mimi's time per frame beside rustymimi and transformers.

Both are needed beside Backtalk for the comparison: `pip install transformers==5.23.0
rustymimi==0.4.1`. Takes about two minutes; leave the machine alone meanwhile.

    python benchmarks/run_codec.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backtalk.cli.bench_codec import codec

RESULTS = Path(__file__).parent / "results"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codebooks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULTS / "codec")
    arguments = parser.parse_args()
    codec(codebooks=arguments.codebooks, rounds=arguments.rounds, out=arguments.out)
