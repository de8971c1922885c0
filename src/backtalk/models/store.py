"""The model store: a folder per model on this machine, filled by `get`, read by `require`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backtalk.errors import ModelError
from backtalk.models.disk import disk_full, is_disk_full, need_free, sha256_of, size_text
from backtalk.models.manifest import Manifest, Model, ModelFile, shipped_manifest
from backtalk.models.progress import Progress, Silent

if TYPE_CHECKING:
    from backtalk.models.sources import Delivery


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one file of a model.

    Attributes:
        file: its name.
        expected: what it should be, in words: a size in bytes or a sha256.
        found: what it is: `missing`, another size or another sha256.
    """

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        if self.found == "missing":
            return f"{self.file} is missing"
        return f"{self.file} is damaged: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that is now in the store.

    Attributes:
        model_id: which one.
        path: the folder that holds its files.
        sources: where each file came from, by file name; files that were there are not named.
        passed_over: why preferred sources were not used, one line each.
    """

    model_id: str
    path: Path
    sources: dict[str, str]
    passed_over: tuple[str, ...]


class ModelStore:
    """Model files on this machine, as `root/<model id>/<file>`.

    Args:
        root: the folder; it need not exist.
        manifest: which models there are; by default those Backtalk ships.
    """

    def __init__(self, root: Path, manifest: Manifest | None = None) -> None:
        self.root = Path(root)
        self.manifest = manifest or shipped_manifest()

    @classmethod
    def default(cls) -> ModelStore:
        """The store at `$BACKTALK_MODELS`, else `backtalk/models` in the user's cache folder."""
        if named := os.environ.get("BACKTALK_MODELS"):
            return cls(Path(named).expanduser())
        # A relative XDG_CACHE_HOME is to be ignored, says the XDG base directory specification.
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = cache if cache.is_absolute() else Path.home() / ".cache"
        return cls(base / "backtalk" / "models")

    def require(self, model_id: str) -> Path:
        """The folder that holds the model's files. Looks at sizes only, so it is cheap.

        Raises:
            ModelError: the id is unknown, or a file is missing or has a wrong size; says how to
                fetch it.
        """
        model = self.manifest.model(model_id)
        for file in model.files:
            if problem := self._size_problem(model, file):
                raise ModelError(
                    f"model {model_id} is not in {self.root}: {problem}; "
                    f"run `backtalk models get {model_id}`"
                )
        return self.root / model_id

    def is_present(self, model_id: str) -> bool:
        """Whether every file is there with the right size.

        Raises:
            ModelError: the id is unknown.
        """
        model = self.manifest.model(model_id)
        return not any(self._size_problem(model, file) for file in model.files)

    def has_any_file(self, model_id: str) -> bool:
        """Whether at least one of the model's files is there, whole or not.

        Raises:
            ModelError: the id is unknown.
        """
        files = self.manifest.model(model_id).files
        return any((self.root / model_id / file.name).exists() for file in files)

    def check(self, model_id: str) -> list[Problem]:
        """Read every file of the model in full and compare its sha256; empty if all is well.

        Raises:
            ModelError: the id is unknown, or a file cannot be read.
        """
        model = self.manifest.model(model_id)
        problems = (self._problem(model, file) for file in model.files)
        return [problem for problem in problems if problem]

    def get(
        self, model_id: str, *, offline: bool = False, progress: Progress | None = None
    ) -> Fetched:
        """Fetch the model's missing and damaged files; see `get_many`."""
        return self.get_many([model_id], offline=offline, progress=progress)[0]

    def get_many(
        self, model_ids: Sequence[str], *, offline: bool = False, progress: Progress | None = None
    ) -> list[Fetched]:
        """Fetch the missing and damaged files of several models.

        Files that are there are read in full and kept if they are right. Each new file is verified
        before it takes its place in one step. Complete downloads of an interrupted call are used by
        the next one. Only one process at a time fetches into a store; others wait.

        Args:
            model_ids: which models; repeated ids count once.
            offline: do not touch the network; `BACKTALK_OFFLINE=1` in the environment asks the
                same.
            progress: told about downloads.

        Raises:
            ModelError: an id is unknown, no source has the right bytes, the disk is full, the store
                cannot be written, or the network is off and something is missing.
        """
        progress = progress or Silent()
        offline = offline or _offline_by_environment()
        models = [self.manifest.model(model_id) for model_id in dict.fromkeys(model_ids)]
        wanted = [(model, file) for model in models for file in model.files]
        wanted = [(model, file) for model, file in wanted if self._problem(model, file)]
        deliveries: dict[tuple[str, str], Delivery] = {}
        if wanted:
            with self._errors_in_words(wanted), self._alone(progress):
                # Another process may have fetched some of them while this one waited.
                wanted = [(model, file) for model, file in wanted if self._problem(model, file)]
                deliveries = self._fetch(models, wanted, offline, progress)
        return [self._fetched(model, deliveries) for model in models]

    def _fetch(
        self,
        models: list[Model],
        wanted: list[tuple[Model, ModelFile]],
        offline: bool,
        progress: Progress,
    ) -> dict[tuple[str, str], Delivery]:
        from backtalk.models.sources import Fetcher

        partial = self.root / ".partial"
        partial.mkdir(exist_ok=True)
        fetcher = Fetcher(partial, offline, progress)
        fetcher.clear_half_written()
        deliveries = {}
        try:
            need_free(self.root, _size_bytes(wanted), _names(wanted))
            for model, file in wanted:
                delivery = fetcher.fetch(model, file, self.root / model.id / file.name)
                deliveries[model.id, file.name] = delivery
                size = size_text(file.size_bytes)
                progress.said(f"{model.id}/{file.name}, {size} ({delivery.source})")
            fetcher.finish(models)
        finally:
            fetcher.tidy()
        return deliveries

    def _fetched(self, model: Model, deliveries: dict[tuple[str, str], Delivery]) -> Fetched:
        mine = {name: delivery for (id, name), delivery in deliveries.items() if id == model.id}
        return Fetched(
            model.id,
            self.root / model.id,
            {name: delivery.source for name, delivery in mine.items()},
            tuple(dict.fromkeys(line for found in mine.values() for line in found.passed_over)),
        )

    def _size_problem(self, model: Model, file: ModelFile) -> Problem | None:
        path = self.root / model.id / file.name
        expected = f"{file.size_bytes} bytes"
        try:
            found_bytes = path.stat().st_size if path.is_file() else None
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        if found_bytes is None:
            return Problem(file.name, expected, "missing")
        if found_bytes != file.size_bytes:
            return Problem(file.name, expected, f"{found_bytes} bytes")
        return None

    def _problem(self, model: Model, file: ModelFile) -> Problem | None:
        if problem := self._size_problem(model, file):
            return problem
        path = self.root / model.id / file.name
        try:
            found_sha256 = sha256_of(path)
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        if found_sha256 != file.sha256:
            return Problem(file.name, f"sha256 {file.sha256}", f"sha256 {found_sha256}")
        return None

    @contextlib.contextmanager
    def _alone(self, progress: Progress) -> Iterator[None]:
        """Hold the store's lock. The system frees it when a process dies."""
        from filelock import FileLock, Timeout

        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.said(f"another process is fetching into {self.root}; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _errors_in_words(self, wanted: list[tuple[Model, ModelFile]]) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(self._existing(), _size_bytes(wanted), _names(wanted)) from error
            raise ModelError(
                f"cannot write to the model store {self.root}: {error.strerror or error}; "
                "set BACKTALK_MODELS to a folder you can write to"
            ) from error

    def _existing(self) -> Path:
        """The store's folder, or the nearest folder above it that exists."""
        return next(path for path in (self.root, *self.root.absolute().parents) if path.exists())


def _offline_by_environment() -> bool:
    return os.environ.get("BACKTALK_OFFLINE", "").lower() not in ("", "0", "false", "no")


def _size_bytes(files: list[tuple[Model, ModelFile]]) -> int:
    return sum(file.size_bytes for _, file in files)


def _names(files: list[tuple[Model, ModelFile]]) -> str:
    return ", ".join(dict.fromkeys(model.id for model, _ in files))
