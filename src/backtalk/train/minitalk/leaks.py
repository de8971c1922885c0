"""The leak check: reads what is on the disk and trusts neither the plan nor the hash behind it."""

from __future__ import annotations

from collections.abc import Iterable

from backtalk.train.minitalk.shard_file import Item

_KNOWN_TO = {"valid": ("train",), "test": ("train", "valid")}


def find_leaks(items: Iterable[Item]) -> list[str]:
    """Held-out turns that a model might have been taught after all, one line each.

    A held-out turn must have a combination that occurs nowhere in the splits before it, and every
    dialogue of a held-out split must have such a turn.

    Args:
        items: of all shards of all splits; audio is not needed.
    """
    items = list(items)
    seen: dict[str, set[str]] = {"train": set(), "valid": set(), "test": set()}
    for item in items:
        for spoken in item.turns:
            seen[item.split].update(spoken.turn.combinations)
    leaks = []
    for item in items:
        if item.split == "train":
            continue
        known = set().union(*(seen[split] for split in _KNOWN_TO[item.split]))
        if not any(spoken.is_held_out for spoken in item.turns):
            leaks.append(f"{item.name} ({item.split}) holds out nothing")
        for spoken in item.turns:
            if spoken.is_held_out and known.issuperset(spoken.turn.combinations):
                names = ", ".join(spoken.turn.combinations)
                leaks.append(f"{item.name} ({item.split}) asks what was taught: {names}")
    return leaks
