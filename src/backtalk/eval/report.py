"""The scores of several systems as one JSON object and one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backtalk.eval.judges import RECOGNISER, Judgement
from backtalk.eval.scores import Scores
from backtalk.latency.percentiles import Percentiles
from backtalk.machine import describe_machine
from backtalk.train.minitalk.corpus import Corpus

if TYPE_CHECKING:
    from rich.table import Table

REFERENCE = "the corpus's own answers"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One system, what it is made of, and how it did."""

    system: str
    models: dict[str, Any]
    judgements: Sequence[Judgement]
    scores: Scores


def eval_report(
    corpus: Corpus, reference: Scores, systems: Sequence[Evaluated], *, realtime: bool
) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "eval": "minitalk",
        "corpus": {"settings": corpus.settings.as_dict(), "made_with": corpus.made_with},
        "recogniser": RECOGNISER,
        "realtime": realtime,
        "machine": describe_machine(),
        "reference": reference.as_dict(),
        "systems": [
            {
                "system": one.system,
                "models": one.models,
                "scores": one.scores.as_dict(),
                "turns": [_turn(judgement) for judgement in one.judgements],
            }
            for one in systems
        ],
    }


def eval_table(reference: Scores, systems: Sequence[Evaluated]) -> Table:
    """A row for each system; the last is what a perfect system would score with these judges."""
    from rich.table import Table

    table = Table(
        title=f"{reference.accuracy.of} held-out questions (medians; first audio also p95)"
    )
    table.add_column("system")
    for name in ("right %", "95 %", "WER %", "DNSMOS", "voice", "first audio ms", "p95", "rtf"):
        table.add_column(name, justify="right")
    rows = [*((one.system, one.scores) for one in systems), (REFERENCE, reference)]
    for system, scores in rows:
        accuracy = scores.accuracy
        table.add_row(
            system,
            f"{100 * accuracy.share:.1f}",
            f"{100 * accuracy.low:.0f} to {100 * accuracy.high:.0f}",
            "" if scores.reply_wer is None else f"{100 * scores.reply_wer:.1f}",
            _median(scores.overall, ".2f"),
            _median(scores.similarity, ".2f"),
            _median(scores.ttfa_ms, ".0f"),
            "" if scores.ttfa_ms is None else f"{scores.ttfa_ms.p95:.0f}",
            _median(scores.rtf, ".3f"),
        )
    return table


def _median(values: Percentiles | None, form: str) -> str:
    return "" if values is None else format(values.p50, form)


def _turn(judgement: Judgement) -> dict[str, Any]:
    reply, quality = judgement.reply, judgement.quality
    return {
        "question": reply.name,
        "asked": reply.spoken.turn.question,
        "task": reply.spoken.turn.task,
        "voice": reply.voice,
        "held_out": reply.spoken.is_held_out,
        "key": reply.spoken.turn.key,
        "said": reply.text,
        "heard": judgement.heard,
        "right": judgement.is_right,
        "ttfa_ms": None if reply.ttfa_ms is None else round(reply.ttfa_ms, 1),
        "rtf": None if reply.rtf is None else round(reply.rtf, 4),
        "dnsmos_overall": None if quality is None else round(quality.overall, 3),
        "similarity": None if judgement.similarity is None else round(judgement.similarity, 3),
        "errors": list(reply.errors),
    }
