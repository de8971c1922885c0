"""How much silence ends a turn: its sound and its words decide.

The sound comes from a turn detector (`smart_turn.py`), which knows how people sound when they have
finished; the words from the language model that is about to answer, which knows how sentences go
on ("What is the capital" wants an "of", "What is the capital of France" a question mark). Each is
wrong where the other is right, so a turn is answered early only if both agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from backtalk.session.settings import TurnSettings


@dataclass(slots=True)
class EndEvidence:
    """What is known about a turn that has fallen silent; None where nothing is.

    Attributes:
        sound: probability of being over, by ear.
        words: probability of being over, by its words.
    """

    sound: float | None = None
    words: float | None = None


def required_silence_ms(evidence: EndEvidence, settings: TurnSettings) -> float:
    """Silence after which the turn is over, as far as is known now.

    Returns:
        `complete_wait_ms` if nothing that is known speaks against it and something speaks for it,
        else `incomplete_wait_ms`.
    """
    known = [
        probability >= threshold
        for probability, threshold in (
            (evidence.sound, settings.complete_sound_probability),
            (evidence.words, settings.complete_words_probability),
        )
        if probability is not None
    ]
    return settings.complete_wait_ms if known and all(known) else settings.incomplete_wait_ms
