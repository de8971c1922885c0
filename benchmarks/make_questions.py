"""Makes the spoken questions of the committed benchmark and of the demo. Run again, it makes the
same files.

    pip install "piper-tts[alignment]"       # GPL-3 tool; only this script needs the extra
    backtalk models get piper-joe whisper-base
    python benchmarks/make_questions.py            # make all files
    python benchmarks/make_questions.py --check    # have Whisper base listen to all files

The voice is Piper's `en_US-joe-medium`, whose recordings are CC0 (NabuCasa voice-datasets). Every
file is 16 kHz mono 16-bit FLAC with its peak at -6 dBFS, 0.3 s of room tone before the first
audible sample (-45 dBFS) and 0.2 s after the last. Pace, pitch and noise vary from file to file by
a generator seeded with the file's name, so that one file can be changed without the others.

- `questions/plain/`: 36 questions spoken without a pause.
- `questions/pauses/`: 24 questions with one pause inside. The sentence is synthesised whole and
  then opened at a word boundary that the voice's own durations name, so its melody goes on after
  the pause: a person who hesitates, not two sentences. In the `complete` ones the words before the
  pause would do as a question by themselves; in the `unfinished` ones they would not.
- `src/backtalk/demo/`: the three turns of `make demo`.

Each folder of questions has a `manifest.json`: text, number of words, where the speech ends, where
the pause is, how the file was made.
"""

from __future__ import annotations

import argparse
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from backtalk.audio.level import AUDIBLE_DBFS, first_audible_sample, last_audible_sample
from backtalk.models.store import ModelStore

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_RATE = 16_000
PEAK_DBFS = -6.0
LEAD_S = 0.3
TAIL_S = 0.2
# One file in three is noisy: 25 to 30 dB below the speech, and limited so that it never reaches
# -45 dBFS, because the end of speech must stay measurable by level.
NOISE_DBFS = -52.0
ROOM_DBFS = -72.0
NOISE_CREST = 2.0
EDGE_FADE_S = 0.01

PLAIN = """
What is your name?
How are you?
What is the capital of France?
What is the capital of Japan?
Please tell me the capital of Italy.
What is two plus two?
How much is seven plus five?
What is ten minus four?
How much is three times six?
What color is the sky on a clear day?
What color do you get from blue and yellow?
What color is a ripe banana?
What day comes after Monday?
How many days are there in a week?
Which month comes after June?
What is the opposite of hot?
What is the opposite of slow?
Give me another word for beautiful.
What does the word brave mean?
What is a volcano?
Can you explain what gravity is?
How can I manage my time better?
Give me one tip for falling asleep faster.
How do I deal with stress at work?
What should I cook for dinner tonight?
How long should I boil an egg?
What can I make with rice and beans?
How do I make a good cup of tea?
Tell me a short joke.
Tell me something funny about cats.
Say something nice about the ocean.
How many legs does a spider have?
Which planet is closest to the sun?
What should I wear when it rains?
Can you recommend a good book for a long train ride?
I have a job interview tomorrow and I would like some advice please.
"""

# Text with the pause as `|`, its length in seconds. The first 14 stop after a complete sentence.
PAUSES = """
Tell me a story | about a dragon. 0.50
What is the capital | of France? 0.35
I would like a coffee | and a sandwich please. 0.60
Can you help me | with my homework? 0.45
What is the weather like | in London today? 0.40
What time is it | in New York? 0.30
How do I make bread | without any yeast? 0.55
Give me some advice | about saving money. 0.40
What should I eat | before a long run? 0.50
Tell me a joke | about a talking dog. 0.25
Do you know any games | for rainy days? 0.45
What is seven plus five | minus two? 0.35
I want to learn Spanish | before the summer. 0.60
How many days are there | in a leap year? 0.30
What is the | capital of Spain? 0.40
What is the opposite of | cold? 0.50
How much is seven plus | eight? 0.30
Can you tell me | how rainbows are made? 0.60
I would like to | book a table for two. 0.20
Please remind me to | call my mother. 0.45
Which planet is the | closest to the sun? 0.35
What color do you get from | red and yellow? 0.55
What do you think about | learning to play the guitar? 0.25
How long should I | boil an egg? 0.20
"""
COMPLETE_PAUSES = 14

# "Wait" has no comma, at which the voice would stop for almost half a second.
DEMO = """
Can you tell me how rainbows are made?
Wait what is the capital of France?
Thank you. Can you say goodbye?
"""

# Takes that Whisper base mishears are spoken again, with other noise, pace and pitch.
TAKES = {
    "plain/12-what-color-is-a-ripe-banana": 5,
    "complete/06-what-time-is-it-in-new-york": 3,
    "complete/12-what-is-seven-plus-five-minus-two": 2,
    "complete/13-i-want-to-learn-spanish-before-the-summer": 3,
}


@dataclass(frozen=True)
class Question:
    """One file to make.

    Attributes:
        path: under the repository root.
        text: what is said.
        pause_after_word: how many words stand before the pause, 0 for no pause.
        pause_s: its length in seconds, from the last audible sample before it to the first after.
        kind: `plain`, `complete` or `unfinished` (the words before the pause), `demo`.
        noisy: whether it gets audible noise.
    """

    path: str
    text: str
    pause_after_word: int = 0
    pause_s: float = 0.0
    kind: str = "plain"
    noisy: bool = False


def questions() -> list[Question]:
    """All files, in order."""
    made = []
    for number, text in enumerate(PLAIN.strip().splitlines(), 1):
        path = f"benchmarks/questions/plain/{number:02d}-{slug(text)}.flac"
        made.append(Question(path, text, noisy=number % 3 == 0))
    for number, line in enumerate(PAUSES.strip().splitlines(), 1):
        marked, pause_s = line.rsplit(" ", 1)
        before, after = (part.strip() for part in marked.split("|"))
        text = f"{before} {after}"
        path = f"benchmarks/questions/pauses/{number:02d}-{slug(text)}.flac"
        kind = "complete" if number <= COMPLETE_PAUSES else "unfinished"
        words = len(before.split())
        made.append(Question(path, text, words, float(pause_s), kind, noisy=number % 3 == 0))
    for number, text in enumerate(DEMO.strip().splitlines(), 1):
        made.append(Question(f"src/backtalk/demo/{number}-{slug(text)}.flac", text, kind="demo"))
    return made


def slug(text: str) -> str:
    """`What is the capital of France?` -> `what-is-the-capital-of-france`, at most eight words."""
    return "-".join(re.findall(r"[a-z]+", text.lower().replace("'", ""))[:8])


def make(question: Question, voice_path: Path) -> dict[str, Any]:
    """Write one file and return its manifest entry."""
    name = Path(question.path).stem
    take = TAKES.get(f"{question.kind}/{name}", 1)
    seed = zlib.crc32(f"{question.kind}/{name}/{take}".encode()) & 0x7FFFFFFF
    rng = np.random.default_rng(seed)
    demo = question.kind == "demo"
    length_scale = 1.0 if demo else round(float(rng.uniform(0.85, 1.2)), 2)
    pitch = 1.0 if demo else round(float(rng.uniform(0.95, 1.05)), 3)
    speech, word_ends = synthesise(question.text, voice_path, length_scale, pitch, seed)
    speech *= 10 ** (PEAK_DBFS / 20) / np.abs(speech).max()

    start, end = audible_span(speech)
    # A little of what is below the threshold stays on both sides: soft onsets, the voice's decay.
    begin = max(start - samples(0.02), 0)
    spoken = fade_edges(speech[begin : end + samples(0.05)])

    pause_at, gap = None, 0
    if question.pause_s:
        words = question.text.split()
        if len(word_ends) != len(words) - 1:
            raise SystemExit(f"the phonemes of {question.text!r} do not show every word boundary")
        cut = quietest(spoken, word_ends[question.pause_after_word - 1] - begin)
        pause_at, pause_end = silence_around(spoken, cut)
        # A word that ends or begins with a stop brings some silence of its own.
        gap = max(samples(question.pause_s) - (pause_end - pause_at), 0)
        spoken = open_up(spoken, cut, gap)

    before = samples(LEAD_S) - (start - begin)
    pcm = np.zeros(before + len(spoken) + samples(TAIL_S), np.float32)
    pcm[before : before + len(spoken)] = spoken
    pcm = pcm[: before + (end - begin) + gap + samples(TAIL_S)]
    colour = str(rng.choice(["white", "pink"])) if question.noisy else "pink"
    pcm += noise(len(pcm), colour, NOISE_DBFS if question.noisy else ROOM_DBFS, rng)

    path = ROOT / question.path
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, pcm, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
    return {
        "file": path.name,
        "text": question.text,
        "words": len(question.text.split()),
        "kind": question.kind,
        "pause_s": question.pause_s,
        "pause_after_word": question.pause_after_word,
        "pause_start_s": None if pause_at is None else seconds(before + pause_at),
        "speech_end_s": seconds(audible_span(pcm)[1]),
        "duration_s": seconds(len(pcm)),
        "longest_gap_s": longest_gap_s(pcm),
        "length_scale": length_scale,
        "pitch": pitch,
        "noise": colour if question.noisy else None,
        "take": take,
    }


def synthesise(
    text: str, voice_path: Path, length_scale: float, pitch: float, seed: int
) -> tuple[np.ndarray, list[int]]:
    """Speak `text`: float32 [T] at 16 kHz and the sample at which each space between words begins.

    Pitch is changed by playing the voice faster or slower, and the pace is corrected for it.
    """
    import onnxruntime
    from piper.config import SynthesisConfig
    from piper.voice import PiperVoice

    # The voice's noise has no seed of its own: it takes the library's, when the model is loaded.
    onnxruntime.set_seed(seed)
    voice = PiperVoice.load(voice_path, include_alignments=True)
    settings = SynthesisConfig(length_scale=length_scale * pitch, normalize_audio=False)
    audio, spaces, position = [], [], 0
    for chunk in voice.synthesize(text, settings, include_alignments=True):
        if chunk.phoneme_alignments is None:
            raise SystemExit('no durations from the voice: pip install "piper-tts[alignment]"')
        for phoneme in chunk.phoneme_alignments:
            if phoneme.phoneme == " ":
                spaces.append(position)
            position += int(phoneme.num_samples)
        audio.append(chunk.audio_float_array)
    ratio = SAMPLE_RATE / (voice.config.sample_rate * pitch)
    pcm = soxr.resample(np.concatenate(audio), 1.0, ratio)
    return np.asarray(pcm, np.float32), [round(space * ratio) for space in spaces]


def audible_span(pcm: np.ndarray) -> tuple[int, int]:
    """First audible sample and the one after the last, by the rule the benchmark measures with."""
    first = first_audible_sample(pcm, SAMPLE_RATE)
    last = last_audible_sample(pcm, SAMPLE_RATE)
    if first is None or last is None:
        raise SystemExit("the voice made no sound")
    return first, last + 1


def longest_gap_s(pcm: np.ndarray) -> float:
    """Longest stretch inside the speech whose 10 ms RMS stays below -45 dBFS."""
    start, end = audible_span(pcm)
    width = samples(0.01)
    frames = pcm[start:end][: (end - start) // width * width].reshape(-1, width)
    loud = np.flatnonzero(np.sqrt(np.mean(frames**2, axis=1)) >= level(AUDIBLE_DBFS))
    return round(float((np.diff(loud) - 1).max()) * width / SAMPLE_RATE, 2)


def quietest(pcm: np.ndarray, around: int) -> int:
    """The middle of the 20 ms with the least energy within 40 ms of sample `around`."""
    width = samples(0.02)
    energy = np.convolve(pcm.astype(np.float64) ** 2, np.ones(width), mode="valid")
    low = max(around - samples(0.04) - width // 2, 0)
    high = around + samples(0.04) - width // 2
    return low + int(np.argmin(energy[low:high])) + width // 2


def silence_around(pcm: np.ndarray, at: int) -> tuple[int, int]:
    """Where the sound before sample `at` ends and where the sound after it begins."""
    last = last_audible_sample(pcm[:at], SAMPLE_RATE)
    first = first_audible_sample(pcm[at:], SAMPLE_RATE)
    return (0 if last is None else last + 1), (len(pcm) if first is None else at + first)


def open_up(pcm: np.ndarray, at: int, gap: int) -> np.ndarray:
    """Put `gap` samples of silence before sample `at`, with short fades on both sides."""
    silence = np.zeros(gap, np.float32)
    return np.concatenate([fade_edges(pcm[:at]), silence, fade_edges(pcm[at:])])


def fade_edges(pcm: np.ndarray) -> np.ndarray:
    """A copy that rises from and falls to nothing within 10 ms."""
    pcm = pcm.copy()
    ramp = np.linspace(0.0, 1.0, samples(EDGE_FADE_S), dtype=np.float32)
    pcm[: len(ramp)] *= ramp
    pcm[-len(ramp) :] *= ramp[::-1]
    return pcm


def noise(length: int, colour: str, dbfs: float, rng: np.random.Generator) -> np.ndarray:
    """White or pink (-3 dB per octave) noise of that RMS level, its peaks limited to +6 dB."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    if colour == "pink":
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), length * 50 / SAMPLE_RATE))
    wave = np.fft.irfft(spectrum, length)
    wave = np.clip(wave / wave.std(), -NOISE_CREST, NOISE_CREST)
    return (wave / wave.std() * level(dbfs)).astype(np.float32)


def level(dbfs: float) -> float:
    """dBFS -> amplitude."""
    return float(10 ** (dbfs / 20))


def samples(duration_s: float) -> int:
    """Seconds -> samples at 16 kHz."""
    return round(duration_s * SAMPLE_RATE)


def seconds(count: int) -> float:
    """Samples at 16 kHz -> seconds, to the millisecond."""
    return round(count / SAMPLE_RATE, 3)


def check(store: ModelStore) -> int:
    """Print what Whisper base hears in each file; return how many files it mishears."""
    import jiwer

    from backtalk.cascade.whisper_model import WINDOW_S, WhisperModel

    model = WhisperModel(store.require("whisper-base"))
    misheard = 0
    for question in questions():
        pcm, _ = soundfile.read(ROOT / question.path, dtype="float32")
        heard = model.hear_wide(pcm, WINDOW_S).text
        wer = jiwer.wer(plain_words(question.text), plain_words(heard) or "-")
        misheard += wer > 0
        print(f"{wer:5.2f}  {question.path}: {heard}")
    print(f"{misheard} of {len(questions())} files misheard")
    return misheard


def plain_words(text: str) -> str:
    """Lower-case words without punctuation; digits and the signs between them spelt out."""
    from num2words import num2words

    for sign, word in {"-": "minus", "+": "plus", "x": "times"}.items():
        text = re.sub(rf"(?<=\d) ?{re.escape(sign)} ?(?=\d)", f" {word} ", text)
    text = re.sub(r"\d+", lambda match: f" {num2words(int(match.group()))} ", text.lower())
    return " ".join(re.findall(r"[a-z']+", text.replace("colour", "color")))


def main() -> None:
    """Make every file, or listen to them."""
    parser = argparse.ArgumentParser(description="Make the spoken questions of the benchmark.")
    parser.add_argument("--check", action="store_true", help="only listen to the files there are")
    options = parser.parse_args()
    store = ModelStore.default()
    if options.check:
        raise SystemExit(1 if check(store) else 0)
    voice_path = store.require("piper-joe") / "en_US-joe-medium.onnx"
    entries: dict[Path, list[dict[str, Any]]] = {}
    for question in questions():
        entry = make(question, voice_path)
        if question.kind != "demo":
            entries.setdefault((ROOT / question.path).parent, []).append(entry)
        print(question.path)
    for folder, made in entries.items():
        manifest = {
            "voice": "Piper en_US-joe-medium (recordings CC0-1.0, NabuCasa voice-datasets)",
            "made_by": "python benchmarks/make_questions.py",
            "sample_rate": SAMPLE_RATE,
            "audible_dbfs": AUDIBLE_DBFS,
            "questions": made,
        }
        text = json.dumps(manifest, indent=1)
        (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
