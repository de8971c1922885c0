""" "Uh-huh": words that say "go on", not "my turn"."""

from __future__ import annotations

import re

# fmt: off
_BACKCHANNELS = frozenset((
    "ah", "aha", "ahh", "alright", "cool", "good", "great", "hm", "hmm", "hmmm", "huh", "indeed",
    "mhm", "mhmm", "mm", "mm-hmm", "mmm", "nice", "oh", "ok", "okay", "really", "right", "sure",
    "true", "uh", "uh-huh", "uh-hum", "uhhuh", "um", "wow", "yah", "yeah", "yep", "yes", "yup",
))
# fmt: on
_PHRASES = frozenset({"i see", "go on", "got it", "of course", "oh really", "makes sense"})
_MAX_WORDS = 3


def is_backchannel(text: str) -> bool:
    """Whether speech over a reply only acknowledges it. Empty text does not."""
    words = re.sub(r"[^\w\s'-]", " ", text.lower()).split()
    if not words or len(words) > _MAX_WORDS:
        return False
    return " ".join(words) in _PHRASES or all(word.strip("-") in _BACKCHANNELS for word in words)
