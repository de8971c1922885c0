"""Which models there are: their files, exact bytes and licences, and where the files can be had."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.errors import ModelError

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _expect(pattern: re.Pattern[str], value: object, what: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ModelError(f"the model manifest has a bad {what}: {value!r}")


def _expect_inner_path(path: object) -> None:
    """Refuse a path that could point outside its archive, repository or folder."""
    parts = path.split("/") if isinstance(path, str) else []
    if not parts or any(part in ("", ".", "..") or re.search(r"[\\:\0]", part) for part in parts):
        raise ModelError(f"the model manifest has a path that leaves its archive: {path!r}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository of the model hub.

    Attributes:
        repo: `owner/name`.
        revision: a 40-digit commit or a named revision.
        path: the file's path inside the repository.
    """

    repo: str
    revision: str
    path: str

    def __post_init__(self) -> None:
        _expect(_REPO, self.repo, "hub repository")
        _expect(_PLAIN_NAME, self.revision, "hub revision")
        _expect_inner_path(self.path)

    def __str__(self) -> str:
        return f"model hub: {self.repo}"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on the package index, used as an archive only.

    Attributes:
        package: the package's name.
        version: the one version whose bytes are known.
        size_bytes: about how much is downloaded, for progress and the free-space check.
    """

    package: str
    version: str
    size_bytes: int

    def __post_init__(self) -> None:
        # Both become arguments of a pip command line, so neither may look like an option.
        _expect(_PLAIN_NAME, self.package, "package name")
        _expect(_VERSION, self.version, "package version")

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True, slots=True)
class WheelMember:
    """One member of a wheel, by its path inside the archive."""

    wheel: Wheel
    path: str

    def __post_init__(self) -> None:
        _expect_inner_path(self.path)


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A file that lies in one wheel, or in parts in several, joined in order."""

    parts: tuple[WheelMember, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ModelError("the model manifest has a source without parts")

    def __str__(self) -> str:
        wheels = dict.fromkeys(str(part.wheel) for part in self.parts)
        return f"package index: {' + '.join(wheels)}"


Source = HubFile | WheelFile


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model.

    Attributes:
        name: its name in the model's folder, without any folder of its own.
        size_bytes: its exact size.
        sha256: 64 lower-case hex digits; what decides whether a download is the file.
        sources: where it can be had, in the order in which they are tried.
    """

    name: str
    size_bytes: int
    sha256: str
    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        _expect(_PLAIN_NAME, self.name, "file name")
        _expect(_SHA256, self.sha256, f"sha256 for {self.name}")
        if self.size_bytes <= 0:
            raise ModelError(f"the model manifest has a bad size: {self.name}: {self.size_bytes}")
        if not self.sources:
            raise ModelError(f"the model manifest has no source for {self.name}")


@dataclass(frozen=True, slots=True)
class Model:
    """One model: what it is for, its licence and its files."""

    id: str
    description: str
    licence: str
    homepage: str
    files: tuple[ModelFile, ...]

    def __post_init__(self) -> None:
        _expect(_PLAIN_NAME, self.id, "model id")
        names = [file.name for file in self.files]
        if not names or len(set(names)) != len(names):
            raise ModelError(f"the model manifest needs distinct file names for {self.id}: {names}")

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All models by id, and the named sets of ids."""

    models: dict[str, Model]
    sets: dict[str, tuple[str, ...]]

    def model(self, model_id: str) -> Model:
        """The model of that id.

        Raises:
            ModelError: there is none; the message lists the known ids.
        """
        if model_id not in self.models:
            raise ModelError(f"no model is called {model_id!r}; known: {', '.join(self.models)}")
        return self.models[model_id]

    def set_members(self, set_name: str) -> tuple[str, ...]:
        """The ids in a named set.

        Raises:
            ModelError: there is no such set; the message lists the known ones.
        """
        if set_name not in self.sets:
            raise ModelError(f"no set is called {set_name!r}; known: {', '.join(self.sets)}")
        return self.sets[set_name]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file; `manifest.toml` beside this module shows the format.

    Raises:
        ModelError: the file cannot be read, or an entry is missing, unsafe or inconsistent.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return _manifest(table)
    except (OSError, ValueError) as error:
        raise ModelError(f"the model manifest {path} cannot be read: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the model manifest {path} lacks something: {error}") from error


@functools.cache
def shipped_manifest() -> Manifest:
    """The manifest that comes with Backtalk, read once per process."""
    return read_manifest(Path(__file__).with_name("manifest.toml"))


def _manifest(table: dict[str, Any]) -> Manifest:
    hubs: dict[str, str] = table.get("hubs", {})
    wheels = {
        package: Wheel(package, entry["version"], entry["size_bytes"])
        for package, entry in table.get("wheels", {}).items()
    }
    models: dict[str, Model] = {}
    for entry in table["model"]:
        files = tuple(
            ModelFile(
                name=file["name"],
                size_bytes=file["size_bytes"],
                sha256=file["sha256"],
                sources=tuple(_source(source, hubs, wheels) for source in file["sources"]),
            )
            for file in entry["file"]
        )
        model = Model(entry["id"], entry["description"], entry["licence"], entry["homepage"], files)
        if model.id in models:
            raise ModelError(f"the model manifest names {model.id} twice")
        models[model.id] = model
    sets = {name: tuple(members) for name, members in table.get("sets", {}).items()}
    for name, members in sets.items():
        unknown = [member for member in members if member not in models]
        if unknown:
            raise ModelError(f"the model manifest's set {name!r} names unknown models: {unknown}")
    return Manifest(models, sets)


def _source(entry: dict[str, Any], hubs: dict[str, str], wheels: dict[str, Wheel]) -> Source:
    if "hub" in entry:
        return HubFile(entry["hub"], hubs[entry["hub"]], entry["path"])
    parts = entry.get("parts", [entry])
    return WheelFile(tuple(WheelMember(wheels[part["wheel"]], part["path"]) for part in parts))
