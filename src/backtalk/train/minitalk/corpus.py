"""A corpus folder: `corpus.json` says what it is, the shards lie beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from backtalk.train.minitalk.corpus_error import CorpusError
from backtalk.train.minitalk.plan import MiniTalkSettings, ShardPlan, plan_shards, texts_fingerprint
from backtalk.train.minitalk.shard_file import Item, read_shard
from backtalk.train.minitalk.splits import Split
from backtalk.train.strict_settings import strict_settings

DESCRIPTION = "corpus.json"
_FORMAT = "minitalk 1"
_VOICE_PACKAGES = ("hibari-tts", "piper-tts", "espeakng-loader", "onnxruntime", "numpy", "soxr")


class Corpus:
    """A corpus on disk, complete or not.

    Args:
        folder: holds `corpus.json`.
    Raises:
        CorpusError: it is no corpus, or one of a format this version does not know.
        ConfigError: its description has a setting that this version does not know.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        table = _read_description(folder)
        self.made_with: dict[str, str] = table["made_with"]
        self.settings = strict_settings(
            MiniTalkSettings, table["settings"], f"{folder / DESCRIPTION}"
        )
        try:
            self.plans = [
                ShardPlan(split, int(number), int(dialogues), self.settings.seed)
                for split, number, dialogues in table["shards"]
            ]
        except (TypeError, ValueError) as error:
            raise CorpusError(
                f"{folder / DESCRIPTION} lists its shards wrongly ({error}); make the corpus again"
            ) from error

    def path_of(self, plan: ShardPlan) -> Path:
        """Where that shard is or will be."""
        return self.folder / f"{plan.name}.tar"

    def missing(self) -> list[ShardPlan]:
        """The shards still to be made."""
        return [plan for plan in self.plans if not self.path_of(plan).is_file()]

    def made(self, split: Split) -> list[ShardPlan]:
        """The shards of a split that are there, in order."""
        return [p for p in self.plans if p.split == split and self.path_of(p).is_file()]

    def items(self, split: Split | None = None, *, with_audio: bool = True) -> Iterator[Item]:
        """All dialogues of a split, or of all, in order.

        Raises:
            CorpusError: a shard is missing or damaged.
        """
        for plan in self.plans:
            if split is not None and plan.split != split:
                continue
            path = self.path_of(plan)
            if not path.is_file():
                raise CorpusError(
                    f"{path} is missing; run the command that made the corpus again: it makes "
                    "what is missing"
                )
            count = 0
            for item in read_shard(path, with_audio=with_audio):
                count += 1
                yield item
            if count != plan.dialogues:
                raise CorpusError(
                    f"shard {path} is cut short ({count} of {plan.dialogues} dialogues); delete "
                    "it and run the command that made the corpus again: it makes what is missing"
                )


def begin_corpus(folder: Path, settings: MiniTalkSettings) -> Corpus:
    """Begin a corpus in a new or empty folder, or take up one that was begun there.

    A complete corpus is taken as it is, whatever versions it was made with.

    Raises:
        CorpusError: the folder holds something else, a corpus of other settings, or one that other
            versions of the voices began.
        OSError: it cannot be made or written.
    """
    if folder.exists() and not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder; give the name of a new one")
    description = folder / DESCRIPTION
    if not description.exists():
        if folder.exists() and any(folder.iterdir()):
            raise CorpusError(
                f"{folder} is not empty and holds no MiniTalk corpus; give the name of a new folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        table = {
            "format": _FORMAT,
            "settings": settings.as_dict(),
            "made_with": versions(),
            "shards": [[plan.split, plan.number, plan.dialogues] for plan in plan_shards(settings)],
        }
        write_whole(description, json.dumps(table) + "\n")
    corpus = Corpus(folder)
    if corpus.settings != settings:
        theirs, ours = corpus.settings.as_dict(), settings.as_dict()
        raise CorpusError(
            f"{folder} holds a corpus of other settings ({_pairs(theirs)}, not {_pairs(ours)}); "
            "give those, or another folder"
        )
    if corpus.missing() and corpus.made_with != (now := versions()):
        changed = [name for name in now if now[name] != corpus.made_with.get(name)]
        raise CorpusError(
            f"{folder} was begun with other versions ("
            + ", ".join(f"{name} {corpus.made_with.get(name)}, now {now[name]}" for name in changed)
            + "), so the rest would sound different; give another folder"
        )
    return corpus


def versions() -> dict[str, str]:
    """Versions of all that decides about texts and samples."""
    return {
        "texts": texts_fingerprint(),
        **{name: _version(name) for name in _VOICE_PACKAGES},
    }


def write_whole(path: Path, text: str) -> None:
    """Write a small text file in one step.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not folder.is_dir():
        raise CorpusError(
            f"{folder} is not a folder; make a corpus with: backtalk train minitalk-data "
            f"--out {folder}"
        )
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        known = table["format"]
    except FileNotFoundError:
        raise CorpusError(
            f"{folder} holds no MiniTalk corpus (no {DESCRIPTION}); make one with: backtalk train "
            "minitalk-data --out NEW_FOLDER"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path} cannot be read ({error}); make the corpus again") from error
    if known != _FORMAT or not {"settings", "made_with", "shards"} <= set(table):
        raise CorpusError(f"{path} is of format {known!r}; this version reads {_FORMAT!r}")
    found: dict[str, Any] = table
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _pairs(table: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in table.items())
