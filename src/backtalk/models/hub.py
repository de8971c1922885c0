"""One file from the model hub, and a quick answer when the hub cannot be reached."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backtalk.models.disk import disk_full, is_disk_full, need_free
from backtalk.models.manifest import HubFile, ModelFile
from backtalk.models.progress import Progress, watched
from backtalk.models.source_error import SourceError, wrong_sha256

ANSWER_S = 1.8
"""How long the hub may take to say what a file is before the next source is used instead."""


class Hub:
    """The hub as one `get` sees it: once found unreachable, it is not asked again.

    Args:
        folder: where downloads are kept until they are verified.
        endpoint: the hub's address; by default what its library is configured to use.
    """

    def __init__(self, folder: Path, endpoint: str | None = None) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._unreachable: str | None = None

    def folder_of(self, source: HubFile) -> Path:
        """Where files of the source's repository are kept until they are verified."""
        return self._folder / source.repo.replace("/", "--")

    def download(self, source: HubFile, file: ModelFile, progress: Progress) -> Path:
        """Download a file, not yet verified, and return where it lies.

        A file that an interrupted run downloaded in full is not downloaded again. Whether a
        half-downloaded one is taken up again is up to the hub's library: older versions do, 2.4
        does not.

        Raises:
            SourceError: the hub cannot be reached, lacks the file or has other bytes.
            ModelError: the disk is full.
        """
        if self._unreachable:
            raise SourceError(self._unreachable)
        self._ask(source, file)
        from huggingface_hub import hf_hub_download

        folder = self.folder_of(source)
        folder.mkdir(parents=True, exist_ok=True)
        need_free(folder, file.size_bytes, file.name)
        try:
            with (
                _no_bars(),
                watched(progress, f"{file.name} from the model hub", file.size_bytes, folder),
            ):
                path = hf_hub_download(
                    repo_id=source.repo,
                    filename=source.path,
                    revision=source.revision,
                    local_dir=folder,
                    etag_timeout=ANSWER_S,
                    endpoint=self._endpoint,
                )
        except Exception as error:
            if is_disk_full(error):
                raise disk_full(folder, file.size_bytes, file.name) from error
            raise self._failure(source, error) from error
        return Path(path)

    def _ask(self, source: HubFile, file: ModelFile) -> None:
        """Ask what the file is: a cheap request that also shows whether the hub is there at all.

        The library's own download retries for minutes when the hub does not answer, so it is called
        only after this. The question runs on a thread because a name look-up obeys no time limit.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(
            source.repo, source.path, revision=source.revision, endpoint=self._endpoint
        )
        metadata, error = _within(ANSWER_S, lambda: get_hf_file_metadata(url, timeout=ANSWER_S))
        if error is not None:
            raise self._failure(source, error) from error
        if metadata.size is not None and metadata.size != file.size_bytes:
            raise SourceError(
                f"wrong size from {source} for {file.name}: "
                f"expected {file.size_bytes} bytes, found {metadata.size}"
            )
        # The hub's tag of a large file is its sha256, of a small one a git hash.
        if metadata.etag and len(metadata.etag) == 64 and metadata.etag != file.sha256:
            raise wrong_sha256(source, file, metadata.etag)

    def _failure(self, source: HubFile, error: Exception) -> SourceError:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None and 400 <= status < 500:
            return SourceError(f"{source} answers {status} for {source.path}")
        if type(error).__name__ == "OfflineModeIsEnabled":
            reason = "HF_HUB_OFFLINE is set"
        else:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
        self._unreachable = f"the model hub cannot be reached ({reason})"
        return SourceError(self._unreachable)


def _within(limit_s: float, call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """The call's value or error; a TimeoutError if neither is there after `limit_s`."""
    outcome: list[tuple[Any, Exception | None]] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True, name="hub-question")
    thread.start()
    thread.join(limit_s)
    return outcome[0] if outcome else (None, TimeoutError(f"no answer within {limit_s} s"))


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the hub's library from drawing its own progress bars."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
