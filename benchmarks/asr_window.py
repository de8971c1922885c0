"""What Whisper's window costs: time, word errors and loops of each way to hear a short turn.

Whisper's encoder was trained on 30 s; a question lasts two or three. This compares real padding of
28, 10, 4 and 2 s with `whisper_model.py`'s way: a little padding and borrowed states of silence.
`the recogniser` is the whole of `WhisperAsr`, with its second hearing of what looks like a loop.

The speech is synthesised here (hibari, and Piper's `joe` where it is installed), at three paces,
with 0.3 s ahead of it, 0.1 to 0.4 s behind it and noise 40, 30 or 20 dB below it. Its text is
known, and half a dozen of the sentences truly repeat words. Errors are counted on words: case,
punctuation and the spelling of numbers do not matter. Every turn of 1.5 s or more is also heard
up to 60 % of it, as a partial transcript is, to count the loops that an unfinished word provokes.

    python benchmarks/asr_window.py --n 126 --out benchmarks/results/asr_window
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from backtalk.audio.resample import resample
from backtalk.cascade.hibari_tts import build_hibari_tts
from backtalk.cascade.piper_tts import build_piper_tts
from backtalk.cascade.protocols import Tts
from backtalk.cascade.speakable import speakable
from backtalk.cascade.whisper_asr import build_whisper_asr
from backtalk.cascade.whisper_model import WINDOW_S, Hypothesis, WhisperModel
from backtalk.cascade.whisper_text import is_suspect
from backtalk.errors import BacktalkError
from backtalk.latency.percentiles import percentiles
from backtalk.machine import describe_machine
from backtalk.models.store import ModelStore
from backtalk.stream.cancel import CancelToken

SAMPLE_RATE = 16000
PACES = (0.9, 1.0, 1.15)
NOISE_DB = (-40, -30, -20)

SENTENCES = """\
Yes.
No, thank you.
Hello.
Okay, sounds good.
Stop.
What time is it?
Turn off the lights in the kitchen.
How are you today?
What is the weather like in Paris?
Can you hear me?
Tell me a joke.
Play some music, please.
Set a timer for ten minutes.
Who wrote Romeo and Juliet?
I would like to order a large pizza with mushrooms and olives.
What's the capital of Australia, and how many people live there?
Could you remind me to call my mother tomorrow morning before work?
I'm looking for a quiet restaurant near the river, not too expensive, with good vegetarian food.
The package was supposed to arrive on Monday but it still isn't here, so I want to know where it is.
No, no, no, that's not what I meant.
It was a very, very good film.
Wait, wait, let me think about it for a second.
Go left, then left again, then left one more time.
Thank you very much, that was really helpful.
Can you explain how a refrigerator works in simple words?
How do I reset my password?
Is there a train to Boston this afternoon?
I think I left my umbrella on the bus yesterday evening.
Please read me the last message again.
Why is the sky blue?
How long does it take to boil an egg?
I need to cancel my appointment with the dentist on Thursday.
What should I cook for dinner if I only have rice, eggs and spinach?
Book a table for four people at half past seven.
Where did I park the car?
Good morning, I have a question about my bill.
How far is the moon from the earth?
My daughter wants to learn the violin. What is a good age to begin?
Let's talk about something else.
Which of these two phones has the better camera?
I can't remember the name of that actor who played the captain.
Actually, never mind.
Tell me about the history of the Roman Empire, but keep it short.
What happened in the news today?
Do you speak French?
The meeting has been moved to Wednesday, so please change it in my calendar and let everyone know.
Are you still there?
I don't understand. Can you say that again, more slowly?
Maybe.
What are the side effects of this medicine?
First I went to the market, then I met a friend for coffee, and after that we walked along the \
beach until it was dark.
How much does it cost to send a letter to Japan?
That's right.
Could you turn the volume up a little?
Find me a recipe for chocolate cake without any butter.
Is it going to rain this weekend?
He said that he would never, never, never give up.
Sure, go ahead.
What do you think about electric cars?
Bye bye.
One two three four five six seven eight nine ten.
Turn it off. Turn it off.
Give me a moment, I have to look for my glasses.""".splitlines()


@dataclass(frozen=True, slots=True)
class Utterance:
    """A turn whose words are known: float32 [T] at 16 kHz."""

    text: str
    pcm: np.ndarray


@dataclass(frozen=True, slots=True)
class Heard:
    """What one way made of one utterance; a way that is not taken apart has no stages."""

    text: str
    is_loop: bool
    total_ms: float
    encode_ms: float | None = None
    decode_ms: float | None = None


def voices(pace: float) -> Iterator[tuple[str, Tts]]:
    """The synthesisers there are, by name."""
    yield "hibari", build_hibari_tts(speed=pace)
    try:
        yield "piper joe", build_piper_tts(speed=pace)
    except BacktalkError as error:
        print(f"without Piper's voice: {error}")


def utterances(count: int) -> tuple[list[Utterance], list[str]]:
    """The first `count` of sentences times voices, and the names of the voices."""
    by_pace = [dict(voices(pace)) for pace in PACES]
    names = list(by_pace[0])
    rng = np.random.default_rng(0)
    made: list[Utterance] = []
    for number in range(count):
        text = SENTENCES[number // len(names) % len(SENTENCES)]
        voice = by_pace[number // len(names) % len(PACES)][names[number % len(names)]]
        made.append(Utterance(text, in_a_room(spoken(voice, text), NOISE_DB[number % 3], rng)))
    return made, names


def spoken(voice: Tts, text: str) -> np.ndarray:
    """The words alone, without the silence around them: float32 [T] at 16 kHz."""
    pcm = np.concatenate([chunk.pcm for chunk in voice.speak(text, CancelToken())])
    audible = np.flatnonzero(np.abs(pcm) > 0.01 * np.abs(pcm).max())
    return resample(pcm[audible[0] : audible[-1] + 1], voice.sample_rate, SAMPLE_RATE)


def in_a_room(pcm: np.ndarray, noise_db: float, rng: np.random.Generator) -> np.ndarray:
    """Silence ahead and behind, a loudness of -26 to -18 dBFS, white noise below it."""
    level = rng.uniform(0.05, 0.12)
    tail_s = rng.uniform(0.1, 0.4)
    turn = np.pad(
        pcm * level / np.sqrt(np.mean(pcm**2)),
        (int(0.3 * SAMPLE_RATE), int(tail_s * SAMPLE_RATE)),
    )
    noise = level * 10 ** (noise_db / 20) * rng.standard_normal(len(turn))
    return np.clip(turn + noise, -1, 1).astype(np.float32)


def ways(store: ModelStore, model_id: str) -> dict[str, Callable[[np.ndarray], Heard]]:
    """Name -> how to hear."""
    model = WhisperModel(store.require(model_id))
    asr = build_whisper_asr(store, model=model_id)

    def by_model(hear: Callable[[np.ndarray], Hypothesis]) -> Callable[[np.ndarray], Heard]:
        def timed(pcm: np.ndarray) -> Heard:
            heard = hear(pcm)
            is_loop = heard.is_unended or is_suspect(heard.tokens)
            total_ms = heard.encode_ms + heard.decode_ms
            return Heard(heard.text, is_loop, total_ms, heard.encode_ms, heard.decode_ms)

        return timed

    def by_recogniser(pcm: np.ndarray) -> Heard:
        began_s = time.perf_counter()
        text = asr.transcribe(pcm).text
        return Heard(text, is_suspect(words(text).split()), 1000 * (time.perf_counter() - began_s))

    found = {
        "30 s window": by_model(lambda pcm: model.hear_wide(pcm, WINDOW_S)),
        "10 s padding": by_model(lambda pcm: model.hear_wide(pcm, 10.0)),
        "4 s padding": by_model(lambda pcm: model.hear_wide(pcm, 4.0)),
        "2 s padding": by_model(lambda pcm: model.hear_wide(pcm, 2.0)),
    }
    for padding_s, stride in ((0.5, 2), (1.0, 2), (2.0, 2), (2.0, 3), (3.0, 3)):
        hear = partial(model.hear, padding_s=padding_s, stride=stride)
        found[f"{padding_s:g} s + borrowed 1/{stride}"] = by_model(hear)
    return {**found, "the recogniser": by_recogniser}


def words(text: str) -> str:
    """Lower-case words, numbers and "ok" spelt out, no marks."""
    plain = re.sub(r"(\d)[:-](?=\d)", r"\1 ", text).replace("’", "'")
    plain = " ".join(re.findall(r"[a-z']+", speakable(plain).lower()))
    plain = re.sub(r"\bok\b", "okay", plain)
    return re.sub(r"\balright\b", "all right", plain).replace("seven thirty", "half past seven")


def summary(
    name: str, truth: list[str], results: list[Heard], unfinished: list[Heard]
) -> dict[str, Any]:
    """One rung of the ladder. A loop counts where the words themselves are not said twice."""
    row: dict[str, Any] = {"window": name}
    for stage in ("encode", "decode", "total"):
        values = [value for r in results if (value := getattr(r, f"{stage}_ms")) is not None]
        if (stats := percentiles(values)) is not None:
            row[f"{stage}_ms"] = {"p50": round(stats.p50, 1), "p95": round(stats.p95, 1)}
    row["wer_percent"] = round(100 * jiwer.wer(truth, [words(r.text) for r in results]), 2)
    row["loops"] = sum(
        r.is_loop and not is_suspect(said.split()) for r, said in zip(results, truth, strict=True)
    )
    row["loops_unfinished"] = sum(heard.is_loop for heard in unfinished)
    return row


def print_ladder(rows: list[dict[str, Any]]) -> None:
    print(
        f"{'window':24}{'encode ms':>15}{'decode ms':>15}{'total ms':>15}{'WER %':>8}{'loops':>7}"
    )
    print(f"{'':24}{'p50    p95':>15}{'p50    p95':>15}{'p50    p95':>15}")
    for row in rows:
        line = f"{row['window']:24}"
        for stage in ("encode_ms", "decode_ms", "total_ms"):
            spread = row.get(stage)
            line += f"{spread['p50']:8.0f}{spread['p95']:7.0f}" if spread else f"{'':15}"
        print(line + f"{row['wer_percent']:8.2f}{row['loops']:7d}{row['loops_unfinished']:5d}")


def draw(path: Path, rows: list[dict[str, Any]], title: str) -> None:
    """Time against word errors, a dot at the median and a line to the 95th percentile."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.8), layout="constrained")
    for place, row in enumerate(rows):
        total = row["total_ms"]
        axes.plot([total["p50"], total["p95"]], [place, place], color="#9aa5b1", lw=2)
        axes.plot(total["p50"], place, "o", color="#3b82c4")
        note = f"{row['wer_percent']:.1f} % word errors, {row['loops']} loops"
        axes.annotate(
            note, (total["p95"], place), xytext=(6, -3), textcoords="offset points", fontsize=8
        )
    axes.set_yticks(range(len(rows)), [row["window"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(right=1.5 * max(row["total_ms"]["p95"] for row in rows))
    axes.set(xscale="log", xlabel="ms for one utterance, p50 (dot) to p95")
    axes.set_title(title, loc="left", fontsize=11)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the ladder, write it as JSON and draw it."""
    parser = argparse.ArgumentParser(description="Compare ways to hear a short turn with Whisper.")
    parser.add_argument("--n", type=int, default=2 * len(SENTENCES), help="how many utterances")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/asr_window")
    parser.add_argument("--model", default="whisper-tiny.en")
    arguments = parser.parse_args()
    if arguments.n < 1:
        parser.error(f"--n is {arguments.n}, but it must be 1 or more")

    speech, names = utterances(arguments.n)
    to_hear = ways(ModelStore.default(), arguments.model)
    machine = describe_machine()
    for hear in to_hear.values():
        hear(speech[0].pcm)
    results: dict[str, list[Heard]] = {name: [] for name in to_hear}
    for utterance in speech:
        for name, hear in to_hear.items():  # take turns, so that a noisy machine is so for all
            results[name].append(hear(utterance.pcm))
    cut = [u.pcm[: int(0.6 * len(u.pcm))] for u in speech if len(u.pcm) >= 1.5 * SAMPLE_RATE]
    unfinished = {name: [hear(pcm) for pcm in cut] for name, hear in to_hear.items()}
    truth = [words(utterance.text) for utterance in speech]
    rows = [summary(name, truth, results[name], unfinished[name]) for name in to_hear]
    print_ladder(rows)

    report = {
        "bench": "asr_window",
        "model": arguments.model,
        "utterances": len(speech),
        "voices": names,
        "unfinished_utterances": len(cut),
        "speech_s": round(sum(len(utterance.pcm) for utterance in speech) / SAMPLE_RATE, 1),
        "threads": 1,
        "machine": machine,
        "windows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{arguments.out}.json").write_text(json.dumps(report, indent=1) + "\n")
    title = f"{arguments.model}, {len(speech)} utterances, one thread"
    draw(Path(f"{arguments.out}.png"), rows, title)


if __name__ == "__main__":
    main()
