"""What Whisper writes besides the words: loops, stage directions and phrases out of silence."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Whisper learned from subtitles. These are what it writes when it hears nothing; "you" far ahead.
_WRITTEN_ON_SILENCE = {
    "",
    "bye",
    "bye bye",
    "i'm sorry",
    "oh",
    "okay",
    "so",
    "thank you",
    "thank you for watching",
    "thank you so much for watching",
    "thank you very much",
    "thanks for watching",
    "the end",
    "you",
}
_STAGE_DIRECTION = re.compile(r"\[[^\]]*\]|\([^)]*\)|\*[^*]*\*|[♪♫]+[^♪♫]*[♪♫]+|[♪♫]")


def clean(text: str) -> str:
    """Words only: no `[BLANK_AUDIO]`, `(music)`, `*cough*` or notes, single spaces."""
    words = " ".join(_STAGE_DIRECTION.sub(" ", text).split())
    return words if any(char.isalnum() for char in words) else ""


def is_written_on_silence(text: str) -> bool:
    """Whether Whisper writes this where nobody speaks. People say some of it, too."""
    return re.sub(r"[^a-z' ]", "", text.lower().replace("-", " ")).strip() in _WRITTEN_ON_SILENCE


def repetition(tokens: Sequence[object]) -> tuple[int, int]:
    """How the tokens end: with the same `period` tokens `times` times over.

    A loop may have been cut anywhere, so its last tokens need not be whole periods from its start.
    Of several periods it is the one that covers most tokens, and then the shortest.

    Returns:
        (period, times); times is 1 if nothing is repeated at the end.
    """
    best, covered = (len(tokens), 1), 0
    for period in range(1, len(tokens) // 2 + 1):
        same = _length_of_echo(tokens, period)
        times = 1 + same // period
        if times > 1 and same + period > covered:
            best, covered = (period, times), same + period
    return best


def is_suspect(tokens: Sequence[object]) -> bool:
    """Whether the end looks like a loop of the decoder: a phrase said twice, a word four times."""
    period, times = repetition(tokens)
    return times >= 4 or (times > 1 and period >= 3)


def without_loop(tokens: Sequence[int]) -> tuple[int, ...]:
    """The tokens up to where the loop at their end said everything once."""
    period, times = repetition(tokens)
    if times == 1:
        return tuple(tokens)
    return tuple(tokens[: len(tokens) - _length_of_echo(tokens, period)])


def _length_of_echo(tokens: Sequence[object], period: int) -> int:
    """How many of the last tokens equal those a period before them."""
    length = 0
    while length + period < len(tokens) and tokens[-1 - length] == tokens[-1 - length - period]:
        length += 1
    return length
