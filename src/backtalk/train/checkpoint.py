"""The state of a run in one file: written whole or not at all, and never a pickled object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backtalk.models.disk import is_disk_full
from backtalk.train.training import RunSettings, Stateful
from backtalk.train.training_error import TrainingError

CHECKPOINT = "checkpoint.pt"


def write_checkpoint(
    folder: Path,
    recipe: str,
    settings: RunSettings,
    step: int,
    seconds: float,
    parts: Mapping[str, Stateful],
) -> None:
    """Write the state after `step` steps over the one before.

    Args:
        seconds: that the steps have taken.
    Raises:
        TrainingError: it cannot be written; the older one is still there.
    """
    import torch

    path = folder / CHECKPOINT
    partial = path.with_name(f"{CHECKPOINT}.partial")
    found = {
        "recipe": recipe,
        "settings": asdict(settings),
        "step": step,
        "seconds": seconds,
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    try:
        with partial.open("wb") as file:
            torch.save(found, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch wraps a full disk in a RuntimeError
        partial.unlink(missing_ok=True)
        is_full = isinstance(error, OSError) and is_disk_full(error)
        reason = "disk full" if is_full else " ".join(str(error).split())[:120]
        raise TrainingError(
            f"{path} cannot be written ({reason}); make room and run the same command again: it "
            "goes on from the checkpoint before"
        ) from error


def read_checkpoint(folder: Path, recipe: str, settings: RunSettings) -> dict[str, Any] | None:
    """The state that `write_checkpoint` left; None if there is none.

    Raises:
        TrainingError: it is damaged, or of another recipe or other settings.
    """
    import torch

    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        theirs, their_settings = found["recipe"], found["settings"]
        found["step"], found["seconds"], found["parts"]
    except Exception as error:  # a damaged file fails in any way that a zip or a pickle can
        raise TrainingError(
            f"{path} is damaged or no checkpoint ({' '.join(str(error).split())[:120]}); delete it "
            "to begin again, or give another --out"
        ) from error
    if theirs != recipe:
        raise TrainingError(f"{path} is of recipe {theirs}, not {recipe}; give another --out")
    ours = asdict(settings)
    changed = [name for name in ours if ours[name] != their_settings.get(name)]
    if changed or set(ours) != set(their_settings):
        shown = ", ".join(
            f"{name} {their_settings.get(name)}, now {ours[name]}" for name in changed
        )
        raise TrainingError(
            f"{path} was begun with other settings ({shown or 'of another version'}); give those, "
            "or another --out"
        )
    return found


def restore(found: Mapping[str, Any], parts: Mapping[str, Stateful], folder: Path) -> None:
    """Put the state into the parts.

    Raises:
        TrainingError: it does not fit them.
    """
    path = folder / CHECKPOINT
    states = found["parts"]
    if set(states) != set(parts):
        raise TrainingError(f"{path} holds other parts ({', '.join(states)}); give another --out")
    for name, part in parts.items():
        try:
            part.load_state_dict(states[name])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:120]
            raise TrainingError(
                f"{path}: {name} does not fit this version ({reason}); give another --out"
            ) from error
