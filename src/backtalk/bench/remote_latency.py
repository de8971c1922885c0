"""First audio of any Realtime server, as its client hears it.

The recorded user, the questions and the figure are those of `bench.latency`; only the session is
somebody else's. Stages are shown where the server offers them; what it does not account for is the
network's and the sockets', and is added to `transport`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.recorder import ConversationRecorder
from backtalk.bench.echo_stream import Target
from backtalk.bench.latency import QUESTIONS_PER_CONVERSATION, Variant, VariantResult
from backtalk.bench.remote_session import RemoteSession
from backtalk.latency.picture import draw_percentiles
from backtalk.machine import describe_machine
from backtalk.session.settings import TurnSettings
from backtalk.talk import Exchange, Question, RecordedConversation


async def measure_remote_latency(
    target: Target,
    turn_detection: str | None,
    max_tokens: int | None,
    questions: Sequence[Question],
    on_exchange: Callable[[Exchange], None],
) -> VariantResult:
    """Hold conversations of a few questions each, one after the other, in real time.

    Raises:
        ConnectError: the server cannot be reached or opens no session.
    """
    result = VariantResult(Variant(turn_detection or "default", TurnSettings()))
    for at in range(0, len(questions), QUESTIONS_PER_CONVERSATION):
        session = await RemoteSession.connect(
            target.url, target.model, target.token, turn_detection, max_tokens
        )
        conversation = RecordedConversation(session, ConversationRecorder())
        for exchange in await conversation.hold(questions[at : at + QUESTIONS_PER_CONVERSATION]):
            exchange.loop_cpu_ms = None  # of this client, and so of no interest
            _account_for_all(exchange)
            result.exchanges.append(exchange)
            on_exchange(exchange)
    return result


def _account_for_all(exchange: Exchange) -> None:
    latency = exchange.latency
    if latency is None or exchange.ttfa_ms is None or not latency.stages_ms:
        return
    stages = dict(latency.stages_ms)
    beyond_ms = exchange.ttfa_ms - sum(stages.values())
    stages["transport"] = stages.get("transport", 0.0) + beyond_ms
    exchange.latency = replace(latency, stages_ms=stages)


def remote_report(target: Target, result: VariantResult) -> dict[str, Any]:
    """One object for JSON, of the same form as `bench.latency.report`."""
    return {
        "bench": "latency",
        "system": target.model,
        "url": target.url,
        "models": {},
        "machine": describe_machine(),
        "overhead": None,
        "variants": [result.as_dict()],
    }


def draw_remote_latency(path: Path, target: Target, result: VariantResult) -> None:
    """Draw stages where the server gives them, else every question's first audio."""
    title = f"{target.model or target.url}: from the last word to the first audible sample"
    if any(stages for stages, _ in result.turns()):
        draw_percentiles(path, {result.variant.name: result.turns()}, title)
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    values = [ttfa_ms for _, ttfa_ms in result.turns()]
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    axes.bar(np.arange(1, len(values) + 1), values, color="#3b82c4")
    for name, q in (("p50", 0.5), ("p95", 0.95)):
        if values:
            at_ms = float(np.quantile(values, q))
            axes.axhline(at_ms, color="#d97a2b", lw=1)
            axes.annotate(f"{name} {at_ms:.0f} ms", (0.3, at_ms), fontsize=8, va="bottom")
    axes.set(xlabel="question", ylabel="ms", xlim=(0.2, len(values) + 0.8))
    axes.set_title(title, loc="left", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)
