"""How much silence ends a turn."""

from __future__ import annotations

import pytest

from backtalk.session.endpoint import EndEvidence, required_silence_ms
from backtalk.session.settings import TurnSettings

SETTINGS = TurnSettings()
SHORT, LONG = SETTINGS.complete_wait_ms, SETTINGS.incomplete_wait_ms


@pytest.mark.parametrize(
    ("sound", "words", "silence_ms"),
    [
        (None, None, LONG),
        (0.9, None, SHORT),
        (None, 0.9, SHORT),
        (0.9, 0.9, SHORT),
        (0.9, 0.01, LONG),
        (0.05, 0.9, LONG),
        (0.05, 0.01, LONG),
    ],
)
def test_both_ear_and_words_must_agree_as_far_as_they_are_known(
    sound: float | None, words: float | None, silence_ms: int
) -> None:
    assert required_silence_ms(EndEvidence(sound, words), SETTINGS) == silence_ms
