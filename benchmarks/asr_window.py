"""What Whisper's window costs: time and errors of each way to hear a short question.

Whisper's encoder was trained on 30 s and always gets them; a question lasts two. This compares
real padding of 28, 10, 4 and 2 s with the way `whisper_model.py` takes, half a second of padding
and borrowed states of silence. The speech is the benchmark's own recordings, plain, with noise at
15 dB and with half a second of silence behind them; word errors are counted against their text.

    python benchmarks/asr_window.py --n 180 --out benchmarks/results/asr_window
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np

from backtalk.audio.files import read_audio
from backtalk.cascade.speakable import speakable
from backtalk.cascade.whisper_model import WINDOW_S, Hypothesis, WhisperModel
from backtalk.cascade.whisper_text import is_suspect
from backtalk.latency.percentiles import percentiles
from backtalk.machine import describe_machine
from backtalk.models.store import ModelStore

HERE = Path(__file__).parent


def utterances(count: int) -> list[tuple[str, np.ndarray]]:
    """Text and float32 [T] at 16 kHz of every recording, three ways."""
    rng = np.random.default_rng(0)
    found = []
    for folder in ("plain", "pauses"):
        manifest = json.loads((HERE / "questions" / folder / "manifest.json").read_text())
        for entry in manifest["questions"]:
            pcm = read_audio(HERE / "questions" / folder / entry["file"]).pcm
            noise = rng.standard_normal(len(pcm)).astype(np.float32)
            noisy = pcm + noise * np.sqrt((pcm**2).mean()) * 10 ** (-15 / 20)
            found += [(entry["text"], kind) for kind in (pcm, noisy, np.pad(pcm, (0, 8000)))]
    return found[:count]


def words(text: str) -> str:
    """Lower-case words, numbers spelt out, no marks."""
    return " ".join(re.findall(r"[a-z']+", speakable(text).lower()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=180, help="how many utterances")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "asr_window")
    parser.add_argument("--model", default="whisper-tiny.en")
    arguments = parser.parse_args()

    model = WhisperModel(ModelStore.default().require(arguments.model))
    ways: dict[str, Callable[[np.ndarray], Hypothesis]] = {
        "30 s window": lambda pcm: model.hear_wide(pcm, WINDOW_S),
        "10 s padding": lambda pcm: model.hear_wide(pcm, 10.0),
        "4 s padding": lambda pcm: model.hear_wide(pcm, 4.0),
        "2 s padding": lambda pcm: model.hear_wide(pcm, 2.0),
        "borrowed silence": model.hear,
    }
    speech = utterances(arguments.n)
    took_ms: dict[str, list[float]] = {way: [] for way in ways}
    heard: dict[str, list[str]] = {way: [] for way in ways}
    loops = dict.fromkeys(ways, 0)
    for _, pcm in speech:
        for way, hear in ways.items():  # take turns, so that a noisy machine is so for all
            began_s = time.perf_counter()
            hypothesis = hear(pcm)
            took_ms[way].append(1000 * (time.perf_counter() - began_s))
            heard[way].append(words(hypothesis.text))
            loops[way] += hypothesis.is_unended or is_suspect(hypothesis.tokens)
    truth = [words(text) for text, _ in speech]
    rows = []
    print(f"{'window':18}{'p50 ms':>8}{'p95 ms':>8}{'WER %':>8}{'loops':>7}")
    for way in ways:
        stats = percentiles(took_ms[way])
        assert stats is not None
        wer = 100 * jiwer.wer(truth, heard[way])
        rows.append({"window": way, **stats.as_dict(), "wer_percent": round(wer, 2)})
        rows[-1]["loops"] = loops[way]
        print(f"{way:18}{stats.p50:8.0f}{stats.p95:8.0f}{wer:8.2f}{loops[way]:7d}")

    report = {"bench": "asr_window", "model": arguments.model, "utterances": len(speech)}
    report |= {"threads": 1, "machine": describe_machine(), "windows": rows}
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    draw(arguments.out.with_suffix(".png"), rows, len(speech), arguments.model)


def draw(path: Path, rows: list[dict], count: int, model: str) -> None:
    """Time against word errors, one point for each window."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for row in rows:
        axes.plot([row["p50"], row["p95"]], [row["wer_percent"]] * 2, color="#9aa5b1", lw=2)
        axes.plot(row["p50"], row["wer_percent"], "o", color="#3b82c4")
        label = f"{row['window']} ({row['loops']} loops)"
        axes.annotate(
            label, (row["p50"], row["wer_percent"]), xytext=(4, 6), textcoords="offset points"
        )
    axes.set(xscale="log", xlabel="ms for one utterance, p50 (dot) to p95", ylabel="word errors, %")
    axes.set_title(f"{model}, {count} utterances, one thread", loc="left", fontsize=11)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
