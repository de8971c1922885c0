"""One file from the first of its sources that has the right bytes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from backtalk.errors import ModelError
from backtalk.models.disk import sha256_of
from backtalk.models.hub import Hub
from backtalk.models.manifest import HubFile, Model, ModelFile, WheelFile
from backtalk.models.progress import Progress
from backtalk.models.source_error import SourceError, wrong_sha256
from backtalk.models.wheels import Wheels


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a file came from.

    Attributes:
        source: the source in words.
        passed_over: why earlier sources were not used, one line each.
    """

    source: str
    passed_over: tuple[str, ...]


class Fetcher:
    """What one `get` fetches with. It must be the only one at work in its folder.

    Args:
        folder: for unfinished downloads; on the file system of the targets.
        offline: use only what earlier, interrupted runs left in the folder.
        progress: told about every download.
        hub: the model hub; by default the one its library is configured to use.
    """

    def __init__(
        self, folder: Path, offline: bool, progress: Progress, hub: Hub | None = None
    ) -> None:
        self._folder = folder
        self._offline = offline
        self._progress = progress
        self._hub = hub or Hub(folder / "hub")
        self._wheels = Wheels(folder / "wheels", offline)

    def clear_half_written(self) -> None:
        """Delete what a killed run left half-written; complete downloads stay."""
        for path in self._folder.glob("wheels/pip-*"):
            shutil.rmtree(path, ignore_errors=True)
        # The hub's library 2.4 gives each attempt a file of its own and never comes back to it;
        # older versions take up the one file again, so that one stays.
        for path in self._folder.glob("hub/**/*.incomplete"):
            if re.search(r"\.[0-9a-f]{8}\.incomplete$", path.name):
                path.unlink(missing_ok=True)
        for path in self._folder.glob("*.part"):
            path.unlink(missing_ok=True)

    def fetch(self, model: Model, file: ModelFile, target: Path) -> Delivery:
        """Put the verified file at `target`, which is replaced in one step or not at all.

        Raises:
            ModelError: no source delivered the right bytes, or the disk is full.
        """
        part = self._folder / f"{model.id}--{file.name}.part"
        passed_over: list[str] = []
        for source in file.sources:
            try:
                if isinstance(source, HubFile):
                    verified = self._from_hub(source, file)
                else:
                    self._wheels.extract(source, file, part, self._progress)
                    verified = part
            except SourceError as error:
                passed_over.append(str(error))
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(verified, target)
            return Delivery(str(source), tuple(passed_over))
        raise ModelError(self._refusal(model, file, passed_over))

    def finish(self, models: list[Model]) -> None:
        """Delete the downloads these models came from."""
        sources = [source for model in models for file in model.files for source in file.sources]
        self._wheels.forget(
            {part.wheel for s in sources if isinstance(s, WheelFile) for part in s.parts}
        )
        for source in sources:
            if isinstance(source, HubFile):
                shutil.rmtree(self._hub.folder_of(source), ignore_errors=True)

    def tidy(self) -> None:
        """Keep no download that was found wrong, and no folder that holds nothing."""
        self._wheels.forget_doubtful()
        for folder in (self._folder / "hub", self._folder / "wheels", self._folder):
            with contextlib.suppress(OSError):  # it is not there, or it holds something
                folder.rmdir()

    def _from_hub(self, source: HubFile, file: ModelFile) -> Path:
        if self._offline:
            raise SourceError(f"{source} would have to be asked")
        path = self._hub.download(source, file, self._progress)
        found_sha256 = sha256_of(path)
        if found_sha256 != file.sha256:
            path.unlink()
            raise wrong_sha256(source, file, found_sha256)
        return path

    def _refusal(self, model: Model, file: ModelFile, passed_over: list[str]) -> str:
        if self._offline:
            return (
                f"{model.id} is not complete ({file.name} is missing or damaged) and the network "
                "is off (--offline or BACKTALK_OFFLINE); allow it, or copy the folder "
                f"{model.id} from another model store"
            )
        reasons = "; ".join(dict.fromkeys(passed_over))
        return f"{model.id}: no source has {file.name}: {reasons}"
