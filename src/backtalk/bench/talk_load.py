"""Many conversations at once with a turn-based server; every third question cuts in on a reply."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from backtalk.audio.recorder import ConversationRecorder
from backtalk.bench.echo_stream import Target
from backtalk.bench.load_report import Check, quantiles
from backtalk.bench.remote_session import RemoteSession
from backtalk.bench.server_watch import ServerWatch
from backtalk.errors import BacktalkError
from backtalk.machine import describe_machine
from backtalk.talk import Exchange, Question, RecordedConversation

CUTS_IN_MS = 800.0
CUTS_IN_EVERY = 3
BARGE_IN_P99_MS = 700.0
"""First word over a reply to its silence. Deciding by words takes a few hundred milliseconds."""


@dataclass(slots=True)
class TalkRun:
    """What the conversations came to.

    Attributes:
        stale_pieces: pieces of sound that came after their response was done.
        failures: conversations that could not be held, one line each.
    """

    target: Target
    conversations: int
    seconds: float
    watch: ServerWatch
    exchanges: list[Exchange] = field(default_factory=list)
    stale_pieces: int = 0
    failures: list[str] = field(default_factory=list)


async def run_talk_load(
    target: Target,
    questions: Sequence[Question],
    conversations: int,
    seconds: float,
    on_progress: Callable[[str], None],
) -> TalkRun:
    """Hold `conversations` at once until `seconds` have passed and the last question is answered.

    Args:
        questions: asked in turn, each conversation beginning with another one.
    """
    run = TalkRun(target, conversations, seconds, ServerWatch(target.url, target.token))
    end_s = asyncio.get_running_loop().time() + seconds

    async def converse(lane: int) -> None:
        await asyncio.sleep(lane * 0.3)  # people do not begin all at once
        at = lane
        while asyncio.get_running_loop().time() < end_s:
            few = [
                replace(
                    questions[(at + n) % len(questions)],
                    cuts_in_ms=CUTS_IN_MS if n == CUTS_IN_EVERY - 1 else None,
                )
                for n in range(CUTS_IN_EVERY)
            ]
            at += CUTS_IN_EVERY
            try:
                session = await RemoteSession.connect(target.url, target.model, target.token, None)
            except BacktalkError as error:
                run.failures.append(str(error))
                return
            run.exchanges += await RecordedConversation(session, ConversationRecorder()).hold(few)
            run.stale_pieces += session.stale_pieces
            on_progress(f"{len(run.exchanges)} questions asked")

    async with run.watch, asyncio.TaskGroup() as group:
        for lane in range(conversations):
            group.create_task(converse(lane))
    return run


def talk_report(run: TalkRun) -> dict[str, Any]:
    """One object for JSON: what was asked and answered, how fast, and which limits were kept."""
    heard = [e for e in run.exchanges if e.ttfa_ms is not None]
    ttfa_ms = quantiles(array("f", [e.ttfa_ms for e in heard if e.ttfa_ms is not None]))
    records = [e.latency for e in run.exchanges if e.latency is not None]
    barge_ms = quantiles(array("f", [r.barge_in_ms for r in records if r.barge_in_ms is not None]))
    errors = run.failures + [error for e in run.exchanges for error in e.errors]
    checks = [
        Check("stale pieces of sound", run.stale_pieces, 0),
        Check("errors", len(errors), 0),
        Check("unanswered questions", len(run.exchanges) - len(heard), 0),
    ]
    if barge_ms is not None:
        checks.append(Check("barge-in p99 ms", barge_ms["p99"], BARGE_IN_P99_MS))
    memory = run.watch.memory()
    if memory is not None:
        checks.append(Check("memory growth MiB", memory["growth_mib"], memory["allowed_mib"]))
    return {
        "bench": "talk load",
        "url": run.target.url,
        "system": run.target.model,
        "conversations": run.conversations,
        "seconds": run.seconds,
        "machine": describe_machine(),
        "questions": len(run.exchanges),
        "answered": len(heard),
        "interrupted": sum(e.was_interrupted for e in run.exchanges),
        "ttfa_ms": ttfa_ms,
        "barge_in_ms": barge_ms,
        "errors": errors[:20],
        "server": {"memory": memory, "samples": run.watch.samples},
        "checks": [asdict(check) | {"ok": check.ok} for check in checks],
        "passed": bool(heard) and all(check.ok for check in checks),
    }
