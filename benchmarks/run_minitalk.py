"""How fast MiniTalk is made, and how well its voices are understood.

    pip install -e '.[train,eval]' && backtalk models get piper-joe whisper-base
    python benchmarks/run_minitalk.py --hours 0.5

Makes a corpus in a temporary folder with one process, says how many times faster than real time
that was and how long 20 h of questions and as many of answers would take, then has Whisper base
listen to recordings of every voice. Writes benchmarks/results/minitalk.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import jiwer

from backtalk.audio.resample import resample
from backtalk.cascade.whisper_asr import WhisperAsr
from backtalk.machine import describe_machine
from backtalk.models.store import ModelStore
from backtalk.scorers.spoken_words import spoken_words
from backtalk.train.minitalk.answer_voice import NAME as ANSWER_VOICE
from backtalk.train.minitalk.corpus import Corpus
from backtalk.train.minitalk.generate import Generated, generate
from backtalk.train.minitalk.plan import MiniTalkSettings
from backtalk.train.minitalk.shard_file import Utterance

RESULTS = Path(__file__).parent / "results" / "minitalk.json"
FULL_S = 2 * 20 * 3600


def speed(done: Generated) -> dict[str, Any]:
    """What it cost to make, and what the full size would."""
    cpu_s = sum(shard.cpu_s for shard in done.made)
    question_s = sum(shard.question_s for shard in done.made)
    answer_s = sum(shard.answer_s for shard in done.made)
    times = (question_s + answer_s) / cpu_s
    size_bytes = sum(path.stat().st_size for path in done.corpus.folder.glob("*.tar"))
    turns = sum(part.turns for part in done.contents.values())
    dialogues = sum(part.dialogues for part in done.contents.values())
    return {
        "questions_h": round(question_s / 3600, 3),
        "answers_h": round(answer_s / 3600, 3),
        "question_s_per_dialogue": round(question_s / dialogues, 3),
        "answer_s_per_dialogue": round(answer_s / dialogues, 3),
        "turns": turns,
        "without_word_times": sum(part.untimed for part in done.contents.values()),
        "cpu_s": round(cpu_s, 1),
        "wall_s": round(done.wall_s, 1),
        "times_real_time_per_core": round(times, 2),
        "core_hours_of_20_h_and_20_h": round(FULL_S / times / 3600, 2),
        "gb_of_20_h_and_20_h": round(size_bytes * FULL_S / (question_s + answer_s) / 1e9, 2),
    }


def intelligibility(corpus: Corpus, per_voice: int) -> dict[str, dict[str, float]]:
    """Word error rate of Whisper base on recordings of every voice."""
    said: dict[str, list[Utterance]] = {}
    for item in corpus.items():
        for spoken in item.turns:
            said.setdefault(item.voice, []).append(spoken.question)
            said.setdefault(ANSWER_VOICE, []).append(spoken.answer)
    ears = WhisperAsr(ModelStore.default().require("whisper-base"))
    found = {}
    for voice, utterances in sorted(said.items()):
        texts, heard = [], []
        for utterance in utterances[:per_voice]:
            pcm, rate = utterance.pcm()
            texts.append(" ".join(spoken_words(utterance.text)))
            heard.append(" ".join(spoken_words(ears.transcribe(resample(pcm, rate, 16_000)).text)))
        wer = jiwer.wer(texts, heard)
        found[voice] = {"recordings": len(texts), "wer": round(float(wer), 4)}
        print(f"{voice:12} {100 * wer:5.1f} % of words misheard in {len(texts)} recordings")
    return found


def main() -> None:
    """Make, measure, listen, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.5)
    parser.add_argument("--per-voice", type=int, default=40)
    parser.add_argument("--corpus", type=Path, help="keep the corpus there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.corpus or Path(scratch) / "minitalk"
        settings = MiniTalkSettings(hours=arguments.hours)
        done = generate(folder, settings, 1, lambda plan, made: print(plan.name, made))
        if not done.made:
            raise SystemExit(f"{folder} is complete, so there is nothing to time")
        found = {"machine": describe_machine(), "settings": settings.as_dict(), **speed(done)}
        print(json.dumps({key: found[key] for key in found if key != "machine"}, indent=1))
        found["whisper_base_wer"] = intelligibility(done.corpus, arguments.per_voice)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
