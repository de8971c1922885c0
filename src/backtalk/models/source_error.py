"""Why one source of a file did not deliver; the next one is tried."""

from __future__ import annotations

from backtalk.models.manifest import ModelFile, Source


class SourceError(Exception):
    """One source failed. Its text names the source and fits on a line."""


def wrong_sha256(source: Source, file: ModelFile, found_sha256: str) -> SourceError:
    """The source has a file of that name with other bytes."""
    return SourceError(
        f"wrong sha256 from {source} for {file.name}: expected {file.sha256}, found {found_sha256}"
    )
