"""What can be wrong with a corpus on disk."""

from __future__ import annotations

from backtalk.errors import BacktalkError


class CorpusError(BacktalkError):
    """A corpus folder or one of its shards is missing, damaged or of another kind."""
