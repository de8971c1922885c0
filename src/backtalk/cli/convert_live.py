"""`backtalk convert` without a recording: microphone to loudspeaker, and what it costs."""

from __future__ import annotations

import asyncio
import json as json_text
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from backtalk.live_conversion import LiveReadout
    from backtalk.llvc.engine import LlvcEngine


def convert_live(engine: LlvcEngine, as_json: bool) -> None:
    """Convert until Ctrl-C, showing the delay all the while.

    Raises:
        AudioError: no microphone, or no loudspeaker.
    """
    from rich.console import Console

    from backtalk.machine import describe_machine

    console = Console(stderr=True, quiet=as_json)
    readout = asyncio.run(run_live(engine, console))
    if as_json:
        figures = None if readout is None else readout.as_dict()
        report = {"voice": engine.voice.name, "live": figures, "machine": describe_machine()}
        typer.echo(json_text.dumps(report))
    elif readout is not None:
        typer.echo(in_words(readout))


async def run_live(engine: LlvcEngine, console: Console) -> LiveReadout | None:
    """Convert until cancelled; what it cost, None if nothing was heard."""
    from backtalk.live_conversion import LiveConversion
    from backtalk.llvc.llvc_system import LlvcSystem
    from backtalk.session.frame_engine import FrameEngine

    frames = FrameEngine(LlvcSystem(engine), 1)
    try:
        await frames.warm_up()
        with console.status("Speak: you hear yourself in the other voice. Ctrl-C ends.") as status:
            conversion = LiveConversion(
                frames, lambda readout: status.update(in_words(readout)), console.print
            )
            try:
                await conversion.run()
            except (KeyboardInterrupt, asyncio.CancelledError):
                console.print("stopped")
        return conversion.readout()
    finally:
        await frames.close()


def in_words(readout: LiveReadout) -> str:
    """One line."""
    chunk = readout.chunk_ms
    return (
        f"mouth to ear {readout.mouth_to_ear_ms:.0f} ms = {readout.design_ms:.0f} by design "
        f"+ {chunk.p50:.1f} computing + {readout.queue_ms:.0f} queued + {readout.devices_ms:.0f} "
        f"in the devices; chunk {chunk.p50:.1f} / {chunk.p95:.1f} / {chunk.p99:.1f} ms "
        f"(p50, p95, p99), {readout.missed} of {chunk.n} missed, {readout.dropped} dropped, "
        f"{readout.gaps} gaps"
    )
