"""How much silence ends a turn: the sound of it decides."""

from __future__ import annotations

from backtalk.session.settings import TurnSettings


def required_silence_ms(probability: float | None, settings: TurnSettings) -> float:
    """Silence after which the turn is over.

    Args:
        probability: of the turn being complete, from the turn detector; None while it has not
            answered (or there is none to ask: then settings alone decide, see below).
        settings: of the session.
    Returns:
        `complete_wait_ms` for a turn that sounds complete, `incomplete_wait_ms` otherwise, and
        while nothing is known.
    """
    if probability is not None and probability >= settings.complete_probability:
        return settings.complete_wait_ms
    return settings.incomplete_wait_ms
