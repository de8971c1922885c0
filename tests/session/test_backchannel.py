"""Which words over a reply are only "go on"."""

from __future__ import annotations

import pytest

from backtalk.session.backchannel import is_backchannel


@pytest.mark.parametrize(
    "text", ["Uh-huh.", "mm-hmm", "Yeah, yeah.", "Okay.", "I see.", "Oh, really?", "Right!", "Mm."]
)
def test_acknowledgements_are_backchannels(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text", ["", "...", "stop", "Yeah, but no.", "wait", "What?", "ok what is the time", "no no no"]
)
def test_anything_that_wants_an_answer_is_not(text: str) -> None:
    assert not is_backchannel(text)
