"""How well an LLVC voice converts strangers, in chunks of every size, and in noise.

    python benchmarks/run_llvc_voice.py --voice voice.safetensors --pairs pairs --recordings FOLDER

Held-out pairs are those that `backtalk train llvc-data` kept apart: the same kinds of speakers, and
other sentences. Recordings are of anybody; what the recogniser hears in the source counts as their
text. Needs `pip install 'backtalk[eval]'` and `backtalk models get --set eval`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.files import read_audio
from backtalk.llvc.config import SAMPLE_RATE
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.stream import convert
from backtalk.llvc.voice_file import Voice, read_voice
from backtalk.machine import describe_machine
from backtalk.models.store import ModelStore
from backtalk.train.conversion.conversion_scores import ConversionJudge, RealEars
from backtalk.train.conversion.pair_files import open_pairs
from backtalk.train.conversion.pair_windows import with_noise
from backtalk.train.conversion.teacher import Pair

RESULTS = Path(__file__).parent / "results"
NOISE_SNR_DB = (20, 10)


def held_out_pairs(folder: Path, count: int) -> list[Pair]:
    """The first held-out pairs of a folder."""
    shards = open_pairs(folder, "held-out").shards
    return [shard.pair(entry) for shard in shards for entry in shard.entries][:count]


def recorded(folder: Path, ears: RealEars, target: Sequence[Pair]) -> list[Pair]:
    """Recordings as pairs; what the target says in them is something else, for its voice alone."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".flac"))
    pairs = []
    for number, path in enumerate(files):
        pcm = read_audio(path, SAMPLE_RATE).pcm
        said = target[number % len(target)].said
        pairs.append(Pair(pcm, said, path.stem, " ".join(ears.words(pcm))))
    return pairs


def rows_of(what: str, pairs: list[Pair], voice: Voice, ears: RealEars) -> list[dict[str, Any]]:
    """Clean in chunks of every size, and noisy in those that the voice is used with."""
    random = np.random.default_rng(0)
    rows = []

    def add(kind: str, heard: list[Pair], frames: int) -> None:
        engine = LlvcEngine(voice.in_chunks(frames), chunk_factor=4)
        judge = ConversionJudge(ears, heard)
        scores = judge.scores([convert(engine, pair.heard) for pair in heard])
        rows.append(
            {
                "what": kind,
                "n": len(heard),
                "chunk_ms": frames,
                **{name: round(value, 4) for name, value in scores.items()},
            }
        )
        print(json.dumps(rows[-1]), flush=True)

    own = voice.config.chunk_frames
    for frames in sorted({*voice.trained_chunk_frames, own}):
        add(what, pairs, frames)
    for snr_db in NOISE_SNR_DB:
        noisy = [replace(pair, heard=with_noise(pair.heard, snr_db, random)) for pair in pairs]
        add(f"{what}, noise at {snr_db} dB", noisy, own)
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voice", type=Path, required=True, help="a .safetensors file")
    parser.add_argument("--pairs", type=Path, required=True, help="what llvc-data has made")
    parser.add_argument("--count", type=int, default=40, help="of the held-out pairs")
    parser.add_argument("--recordings", type=Path, help="folder of WAV and FLAC files")
    parser.add_argument("--out", type=Path, default=RESULTS / "llvc-voice.json")
    arguments = parser.parse_args()
    voice = read_voice(arguments.voice)
    ears = RealEars(ModelStore.default())
    pairs = held_out_pairs(arguments.pairs, arguments.count)
    rows = rows_of("held-out pairs", pairs, voice, ears)
    if arguments.recordings is not None:
        rows += rows_of("recordings", recorded(arguments.recordings, ears, pairs), voice, ears)
    report = {"voice": arguments.voice.name, "rows": rows, "machine": describe_machine()}
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
