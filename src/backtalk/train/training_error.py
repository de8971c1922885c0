"""A model cannot be trained."""

from __future__ import annotations

from backtalk.errors import BacktalkError


class TrainingError(BacktalkError):
    """The data, the checkpoint or the run is of no use; says what to do."""
