"""Small manifests, wheels built in a temporary folder, and a pip that only copies them."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from backtalk.models.manifest import (
    Manifest,
    Model,
    ModelFile,
    Source,
    Wheel,
    WheelFile,
    WheelMember,
)


def build_wheel(path: Path, package: str, version: str, members: dict[str, bytes]) -> Path:
    """A wheel with these members that pip would download and never install."""
    info = f"{package.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    metadata += "Requires-Python: >=99\nRequires-Dist: nowhere-at-all\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    return path


def file_of(name: str, content: bytes, *sources: Source) -> ModelFile:
    """A manifest entry for a file with that content."""
    return ModelFile(name, len(content), hashlib.sha256(content).hexdigest(), sources)


def in_wheel(*parts: tuple[str, str], version: str = "1.0") -> WheelFile:
    """A source: `(package, path inside)` for every part."""
    return WheelFile(
        tuple(WheelMember(Wheel(package, version, 1000), path) for package, path in parts)
    )


def manifest_of(*models: Model) -> Manifest:
    return Manifest({model.id: model for model in models}, {"default": (models[0].id,)})


def model_of(model_id: str, *files: ModelFile) -> Model:
    return Model(model_id, f"what {model_id} is for", "MIT", "https://example.org", files)


@dataclass
class Index:
    """A package index of wheels in a folder, and the downloads that were made from it."""

    folder: Path
    downloads: list[str] = field(default_factory=list)
    complaint: str | None = None

    def add(self, package: str, members: dict[str, bytes], version: str = "1.0") -> None:
        stem = f"{package.replace('-', '_')}-{version}"
        build_wheel(self.folder / f"{stem}-py3-none-any.whl", package, version, members)

    def pip_download(self, wheel: Wheel, delivered: Path, scratch: Path) -> str | None:
        self.downloads.append(wheel.package)
        if self.complaint:
            (scratch / "half.whl").write_bytes(b"half")
            return self.complaint
        stem = f"{wheel.package.replace('-', '_')}-{wheel.version}"
        found = self.folder / f"{stem}-py3-none-any.whl"
        if not found.exists():
            return f"No matching distribution found for {wheel.package}=={wheel.version}"
        shutil.copy(found, delivered)
        return None


@dataclass
class Heard:
    """A `Progress` that remembers."""

    lines: list[str] = field(default_factory=list)
    began_with: list[tuple[str, int]] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    endings: int = 0

    def began(self, what: str, total_bytes: int) -> None:
        self.began_with.append((what, total_bytes))

    def reached(self, done_bytes: int) -> None:
        self.bytes.append(done_bytes)

    def ended(self) -> None:
        self.endings += 1

    def said(self, line: str) -> None:
        self.lines.append(line)
