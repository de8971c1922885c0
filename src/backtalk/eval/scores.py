"""What the judgements of all replies add up to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.eval.judges import Judgement
from backtalk.latency.percentiles import Percentiles, percentiles
from backtalk.scorers.spoken_words import spoken_words

_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many.

    Attributes:
        low, high: 95 % confidence interval of the share (Wilson, 1927).
    """

    right: int
    of: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """0..1."""
        return self.right / self.of

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {
            "share": round(self.share, 4),
            "right": self.right,
            "of": self.of,
            "low": round(self.low, 4),
            "high": round(self.high, 4),
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one system.

    Attributes:
        accuracy: held-out questions answered rightly; one without a reply is answered wrongly.
        by_task: the same, for each part of the grammar.
        answered: held-out questions with an audible reply.
        reply_wer: word errors of what was heard against what the system says it said, over all
            its words; None if it never says.
        overall, signal, background: DNSMOS of the replies, None if nothing was audible.
        similarity: of the speaker to the answer voice.
        ttfa_ms, rtf: None if there was no reply, or if the system does not say.
    """

    accuracy: Share
    by_task: dict[str, Share]
    answered: int
    reply_wer: float | None
    overall: Percentiles | None
    signal: Percentiles | None
    background: Percentiles | None
    similarity: Percentiles | None
    ttfa_ms: Percentiles | None
    rtf: Percentiles | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        spread = {
            "dnsmos_overall": (self.overall, 3),
            "dnsmos_signal": (self.signal, 3),
            "dnsmos_background": (self.background, 3),
            "similarity": (self.similarity, 3),
            "ttfa_ms": (self.ttfa_ms, 1),
            "rtf": (self.rtf, 4),
        }
        return {
            "accuracy": self.accuracy.as_dict(),
            "by_task": {task: share.as_dict() for task, share in self.by_task.items()},
            "answered": self.answered,
            "reply_wer": None if self.reply_wer is None else round(self.reply_wer, 4),
            **{
                name: None if values is None else values.as_dict(digits)
                for name, (values, digits) in spread.items()
            },
        }


def score(judgements: Sequence[Judgement]) -> Scores:
    """Add up the held-out turns; the others only led to them.

    Raises:
        ValueError: none of the turns is held out.
    """
    counted = [one for one in judgements if one.reply.spoken.is_held_out]
    by_task: dict[str, list[bool]] = defaultdict(list)
    for one in counted:
        by_task[one.reply.spoken.turn.task].append(one.is_right)
    qualities = [one.quality for one in counted if one.quality is not None]
    return Scores(
        accuracy=share_of(one.is_right for one in counted),
        by_task={task: share_of(found) for task, found in sorted(by_task.items())},
        answered=sum(one.quality is not None for one in counted),
        reply_wer=reply_wer(counted),
        overall=percentiles(quality.overall for quality in qualities),
        signal=percentiles(quality.signal for quality in qualities),
        background=percentiles(quality.background for quality in qualities),
        similarity=percentiles(one.similarity for one in counted if one.similarity is not None),
        ttfa_ms=percentiles(one.reply.ttfa_ms for one in counted if one.reply.ttfa_ms is not None),
        rtf=percentiles(one.reply.rtf for one in counted if one.reply.rtf is not None),
    )


def share_of(found: Iterable[bool]) -> Share:
    """The share of True with its confidence interval.

    Raises:
        ValueError: there is nothing to count.
    """
    values = list(found)
    right, count = sum(values), len(values)
    if not count:
        raise ValueError("a share of nothing")
    share, z2 = right / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) * _Z95 / (1 + z2 / count)
    return Share(right, count, max(0.0, middle - half), min(1.0, middle + half))


def reply_wer(judgements: Iterable[Judgement]) -> float | None:
    """Word error rate of the heard replies against their own texts, both as spoken words."""
    import jiwer

    pairs = [
        (" ".join(spoken_words(one.reply.text)), " ".join(spoken_words(one.heard)))
        for one in judgements
        if one.reply.text is not None
    ]
    pairs = [(said, heard) for said, heard in pairs if said]
    if not pairs:
        return None
    return float(jiwer.wer([said for said, _ in pairs], [heard for _, heard in pairs]))
