"""How good and how fast units and their vocoder are: held-out answers of MiniTalk, resynthesised.

    python benchmarks/run_unit_vocoder.py --data minitalk --units units.safetensors \\
        --vocoder vocoder.safetensors

Each answer is judged as it is in the corpus, after units and vocoder, and with durations guessed.
Needs `pip install 'backtalk[eval]'` and `backtalk models get --set eval`; one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backtalk.audio.files import write_wav
from backtalk.codecs.unit_vocoder.checkpoint import load_unit_vocoder
from backtalk.codecs.unit_vocoder.unit_vocoder import UnitVocoder
from backtalk.codecs.units.unit_tokenizer import UnitTokenizer
from backtalk.codecs.units.units_file import load_unit_tokenizer
from backtalk.eval.judges import Judges, load_judges
from backtalk.eval.replies import Reply, true_replies
from backtalk.eval.scores import reply_wer
from backtalk.latency.percentiles import percentiles
from backtalk.machine import describe_machine
from backtalk.models.store import ModelStore
from backtalk.train.minitalk.corpus import Corpus

RESULTS = Path(__file__).parent / "results"
PIECES_UNITS = (5, 25)


def quality(judges: Judges, replies: Sequence[Reply]) -> dict[str, Any]:
    """Word errors over all words; medians of the rest."""
    judgements = [judges.judge(reply) for reply in replies]
    qualities = [one.quality for one in judgements if one.quality is not None]
    overall = percentiles(each.overall for each in qualities)
    alike = percentiles(one.similarity for one in judgements if one.similarity is not None)
    wer = reply_wer(judgements)
    return {
        "n": len(judgements),
        "silent": len(judgements) - len(qualities),
        "wer": None if wer is None else round(wer, 4),
        "dnsmos": None if overall is None else round(overall.p50, 3),
        "similarity": None if alike is None else round(alike.p50, 3),
    }


def speed(tokenizer: UnitTokenizer, vocoder: UnitVocoder, reply: Reply) -> dict[str, float]:
    """Compute time over audio time, and the time to the first sound, of some 20 s of speech."""
    pcm = np.tile(reply.pcm, 1 + 20 * reply.sample_rate // len(reply.pcm))
    duration_s = len(pcm) / reply.sample_rate
    began_s = time.perf_counter()
    units = tokenizer.encode(pcm, reply.sample_rate)
    found = {"tokenizer_rtf": (time.perf_counter() - began_s) / duration_s}
    began_s = time.perf_counter()
    vocoder.decode(units)
    found["vocoder_rtf"] = (time.perf_counter() - began_s) / duration_s
    for piece in PIECES_UNITS:
        stream = vocoder.open_stream()
        began_s = time.perf_counter()
        first_ms = None
        for at in range(0, len(units), piece):
            made = stream.push(units[at : at + piece])
            if made.size and first_ms is None:
                first_ms = 1000 * (time.perf_counter() - began_s)
        stream.flush()
        found[f"vocoder_rtf_{piece}_units"] = (time.perf_counter() - began_s) / duration_s
        found[f"first_sound_ms_{piece}_units"] = first_ms or 0.0
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a MiniTalk corpus")
    parser.add_argument("--units", type=Path, required=True, help="what the recipe `units` wrote")
    parser.add_argument("--vocoder", type=Path, required=True)
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--out", type=Path, default=RESULTS / "unit-vocoder.json")
    parser.add_argument("--listen", type=Path, help="folder for the first answers as WAV")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = load_unit_tokenizer(arguments.units)
    vocoder = UnitVocoder(load_unit_vocoder(arguments.vocoder))
    true = true_replies(list(Corpus(arguments.data).items("test")))[: arguments.answers]
    kinds: dict[str, list[Reply]] = {"corpus": true, "resynthesised": [], "durations guessed": []}
    lengths = []
    for reply in true:
        units = tokenizer.encode(reply.pcm, reply.sample_rate)
        made = {
            "resynthesised": vocoder.decode(units),
            "durations guessed": vocoder.decode(units, has_runs=False),
        }
        for kind, pcm in made.items():
            kinds[kind].append(replace(reply, pcm=pcm, sample_rate=vocoder.sample_rate))
        lengths.append(len(made["durations guessed"]) / len(made["resynthesised"]))
    if arguments.listen is not None:
        arguments.listen.mkdir(parents=True, exist_ok=True)
        for kind, replies in kinds.items():
            for reply in replies[:5]:
                name = f"{reply.name}.{kind.replace(' ', '-')}.wav"
                write_wav(arguments.listen / name, np.clip(reply.pcm, -1, 1), reply.sample_rate)
    judges = load_judges(ModelStore.default(), true[:10])
    report = {
        "quality": {kind: quality(judges, replies) for kind, replies in kinds.items()},
        "length_when_guessed": round(float(np.mean(lengths)), 3),
        "speed": speed(tokenizer, vocoder, true[0]),
        "look_ahead_ms": 1000 * vocoder.model.config.reach / vocoder.unit_rate,
        "machine": describe_machine(),
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("quality", "speed")}, indent=1))


if __name__ == "__main__":
    main()
