"""The data card: what a corpus holds, counted from what is on the disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from backtalk.train.minitalk.corpus import Corpus
from backtalk.train.minitalk.shard_file import Item
from backtalk.train.minitalk.splits import SPLITS
from backtalk.train.minitalk.voices import LICENCES


@dataclass(slots=True)
class Contents:
    """Counts over the dialogues of one split.

    Attributes:
        held_out: turns about a combination that is not in the training split.
        untimed: questions and answers without word times.
    """

    dialogues: int = 0
    turns: int = 0
    held_out: int = 0
    question_s: float = 0.0
    answer_s: float = 0.0
    untimed: int = 0
    voices: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)

    def add(self, item: Item) -> None:
        """Count one dialogue."""
        self.dialogues += 1
        for spoken in item.turns:
            self.turns += 1
            self.held_out += spoken.is_held_out
            self.question_s += spoken.question.duration_s
            self.answer_s += spoken.answer.duration_s
            self.untimed += (not spoken.question.words) + (not spoken.answer.words)
            self.voices[item.voice] += 1
            self.tasks[spoken.turn.task] += 1

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "dialogues": self.dialogues,
            "turns": self.turns,
            "held_out": self.held_out,
            "question_s": round(self.question_s, 1),
            "answer_s": round(self.answer_s, 1),
            "untimed": self.untimed,
            "voices": dict(sorted(self.voices.items())),
            "tasks": dict(sorted(self.tasks.items())),
        }


def count_contents(items: list[Item]) -> dict[str, Contents]:
    """What each split holds."""
    contents = {str(split): Contents() for split in SPLITS}
    for item in items:
        contents[item.split].add(item)
    return contents


def card_text(corpus: Corpus, contents: dict[str, Contents]) -> str:
    """The card in Markdown."""
    settings = corpus.settings
    tasks = sorted(set().union(*(part.tasks for part in contents.values())))
    voices = sorted(set().union(*(part.voices for part in contents.values())))
    splits = list(contents)
    lines = [
        "# MiniTalk",
        "",
        "Spoken questions and answers from a small closed world: sums, days and months, capitals,",
        "colors, opposites, spelling, greetings, repetition and follow-up questions. All speech is",
        "synthetic. Made by Backtalk:",
        "",
        f"    backtalk train minitalk-data --out DIR --hours {settings.hours:g} "
        f"--seed {settings.seed}",
        "",
        "The same command with the same versions on the same kind of processor gives the same",
        "bytes: " + ", ".join(f"{name} {v}" for name, v in corpus.made_with.items()) + ".",
        "",
        "| | " + " | ".join(splits) + " |",
        "|---|" + "---:|" * len(splits),
        _row("dialogues", contents, lambda part: str(part.dialogues)),
        _row("turns", contents, lambda part: str(part.turns)),
        _row("turns held out", contents, lambda part: str(part.held_out)),
        _row("questions, minutes", contents, lambda part: f"{part.question_s / 60:.1f}"),
        _row("answers, minutes", contents, lambda part: f"{part.answer_s / 60:.1f}"),
        _row("recordings without word times", contents, lambda part: str(part.untimed)),
        *(
            _row(f"turns about: {task}", contents, lambda part, t=task: str(part.tasks[t]))
            for task in tasks
        ),
        *(
            _row(f"turns by voice: {name}", contents, lambda part, v=name: str(part.voices[v]))
            for name in voices
        ),
        "",
        "## Splits",
        "",
        "A hash of a combination decides what is held out, the same for every seed. Of sums it is",
        "the pair of numbers with its operation, of the calendar the step with the day or month,",
        "of repetition the adjective with its noun, of facts the word with the user's voice (a",
        "fact that was never taught cannot be known). No training or validation dialogue has a",
        "combination that is held out for the test; the command checks the files for it last.",
        "",
        "## Voices and licences",
        "",
        *(f"- {name}: {licence}" for name, licence in LICENCES.items()),
        "",
        "Questions are 16 kHz, in several paces and pitches, half of them in light noise; answers",
        "are 24 kHz, all by hibari's heart. Word times are the synthesisers' own: the networks'",
        "phoneme durations, espeak-ng's word events. No recogniser was involved.",
        "",
        "## Format",
        "",
        "`SPLIT-NNNN.tar` in WebDataset's layout: per dialogue `NAME.TURN.question.flac` and",
        "`NAME.TURN.answer.flac` (mono, 16 bit), then `NAME.json` with texts, `key` (the words",
        "that make an answer right), `words` (text, start and end in seconds), `voice`, `manner`,",
        "`combinations`, `held_out` and the sha256 of every recording.",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, contents: dict[str, Contents], cell: Any) -> str:
    return f"| {name} | " + " | ".join(cell(part) for part in contents.values()) + " |"
