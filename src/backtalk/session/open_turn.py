"""The user's turn that is not over yet: where it is in their audio, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backtalk.session.endpoint import EndEvidence
from backtalk.session.memory import new_entry_id
from backtalk.session.reply import Reply


@dataclass
class OpenTurn:
    """The user's turn that is not over yet.

    Attributes:
        start_sample: where its audio begins, pre-roll included.
        before: audio of the turn it reopened, to which it belongs.
        onset_sample: its first speech sample.
        item_id: of its entry in the memory, once it is over.
        replaces: the entry of the turn it reopened.
        goes_on: its speech came so soon that it may be the rest of the turn before.
        words: what was last recognised, None if nothing was.
        heard_until: up to which sample its words were last given to be recognised.
        weighed_until: and up to which they were given to be judged as well.
        judge_at_ms: speech over the reply at which its words are looked at next.
    """

    number: int
    start_sample: int
    onset_sample: int
    item_id: str = field(default_factory=new_entry_id)
    replaces: str | None = None
    before: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    goes_on: bool = False
    draft: Reply | None = None
    words: str | None = None
    heard_until: int = -1
    weighed_until: int = -1
    hearings: int = 0
    evidence: EndEvidence = field(default_factory=EndEvidence)
    asked_until: int = -1
    judge_at_ms: float = 0.0
    speculations: int = 0
    is_forced: bool = False
