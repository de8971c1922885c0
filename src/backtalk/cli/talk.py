"""`backtalk talk`: one conversation, from recordings or through the microphone."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.agent_options import (
    AgentChoice,
    AsrOption,
    JsonOption,
    LlmModelOption,
    LlmOption,
    LlmUrlOption,
    SetOption,
    SystemOption,
    TtsOption,
    TtsOptionOption,
    VoiceConversionOption,
    turn_settings,
)
from backtalk.errors import ConfigError, StageError

if TYPE_CHECKING:
    from backtalk.audio.recorder import ConversationRecorder
    from backtalk.stream.events import Event
    from backtalk.talk import Exchange, Question

_EXAMPLES = """
Examples:

  backtalk talk                                    talk through the microphone

  backtalk talk q1.wav q2.wav --out both.wav       ask recorded questions, keep the recording

  backtalk talk q1.wav q2.wav --cut-in 2@1500      q2 cuts in 1.5 s into the reply to q1

  backtalk talk q.wav --llm-url http://localhost:8080/v1 --llm-model mymodel

  backtalk talk q.wav --tts csm --tts-option rvq=auto --tts-option random_weights=0
"""


def talk(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Recordings, spoken in this order.")
    ] = None,
    system: SystemOption = "cascade",
    out: Annotated[
        Path | None, typer.Option(help="Stereo WAV to write: user left, agent right.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="PNG to write: both voices and every turn's waterfall.")
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option("--realtime/--fast", help="--fast skips the silences instead of waiting."),
    ] = True,
    cut_in: Annotated[
        list[str] | None,
        typer.Option(help="N@MS: recording N starts MS after the reply before it became audible."),
    ] = None,
    asr: AsrOption = None,
    llm: LlmOption = None,
    llm_url: LlmUrlOption = None,
    llm_model: LlmModelOption = None,
    tts: TtsOption = None,
    tts_option: TtsOptionOption = None,
    voice_conversion: VoiceConversionOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Hold one spoken conversation and say what every turn cost."""
    import asyncio

    from backtalk.audio.recorder import ConversationRecorder
    from backtalk.machine import describe_machine
    from backtalk.stream.clock import run_virtual

    settings = turn_settings(set_)
    choice = AgentChoice(system, asr, llm, llm_url, llm_model, tts, tts_option, voice_conversion)
    questions = _read_questions(files or [], cut_in or [])
    if questions is None and not realtime:
        raise ConfigError("--fast needs recordings; a microphone hears in real time only")
    for path in (out, timeline):
        _check_writable(path)

    recorder = ConversationRecorder()
    conversation = _Conversation(choice, settings, recorder, is_quiet=json)
    if questions is None:
        asyncio.run(conversation.live())
    elif realtime:
        asyncio.run(conversation.recorded(questions))
    else:
        run_virtual(conversation.recorded(questions), counts_work=True)

    exchanges = conversation.exchanges
    if out is not None and recorder.duration_s:
        recorder.write(out)
    if timeline is not None:
        _draw(timeline, system, exchanges, recorder)
    if json:
        turns = [_turn_json(exchange) for exchange in exchanges]
        report = {"system": system, "turns": turns, "machine": describe_machine()}
        typer.echo(json_text.dumps(report))
    else:
        _print(exchanges, out, timeline)
    failed = [error for exchange in exchanges for error in exchange.errors]
    if failed:
        raise StageError("system", f"{failed[0]} ({len(failed)} failed)")


talk.__doc__ = f"{talk.__doc__}\n{_EXAMPLES}"


class _Conversation:
    """One conversation with progress on standard error."""

    def __init__(
        self, choice: AgentChoice, settings: Any, recorder: ConversationRecorder, is_quiet: bool
    ) -> None:
        from rich.console import Console

        self._choice, self._settings, self._recorder = choice, settings, recorder
        self._console = Console(stderr=True, quiet=is_quiet)
        self.exchanges: list[Exchange] = []

    async def _agent(self) -> Any:
        from backtalk.systems import build_agent

        with self._console.status(f"loading {self._choice.system} and warming it up"):
            agent = build_agent(self._choice.system, **self._choice.builder_options())
            await agent.warm_up()
        return agent

    async def recorded(self, questions: list[Question]) -> None:
        from backtalk.talk import RecordedConversation

        agent = await self._agent()
        try:
            conversation = RecordedConversation(
                agent.open_session(self._settings), self._recorder, self._show
            )
            self.exchanges = await conversation.hold(questions)
        finally:
            await agent.close()

    async def live(self) -> None:
        import asyncio

        from backtalk.audio.device import Microphone, Speaker
        from backtalk.talk import LiveConversation

        async with Microphone(16000) as microphone:
            agent = await self._agent()
            session = agent.open_session(self._settings)
            conversation = LiveConversation(session, self._show, self._recorder)
            self._console.print("Speak. Ctrl-C ends the conversation.")
            try:
                async with Speaker(session.sample_rate_out) as speaker:
                    await conversation.hold(microphone, speaker)
            except (KeyboardInterrupt, asyncio.CancelledError):
                self._console.print("stopped")
            finally:
                await agent.close()
        self.exchanges = conversation.exchanges

    def _show(self, event: Event) -> None:
        from backtalk.stream import events

        match event:
            case events.UserTranscript(final=True):
                self._console.print(f"[bold]user [/] {event.text}", highlight=False)
            case events.ReplyInterrupted():
                what = "goes on" if event.reopened else "cuts in"
                self._console.print(f"[dim]      the user {what}[/]")
            case events.TurnDiscarded():
                self._console.print(f"[dim]      not a turn: {event.reason}[/]")
            case events.TurnMeasured() if event.latency.ttfa_ms is not None:
                self._console.print(f"[dim]      first audio {event.latency.ttfa_ms:.0f} ms[/]")
            case events.SessionError():
                self._console.print(f"[red]{event.stage}: {event.message}[/]")


def _read_questions(files: list[Path], cut_in: list[str]) -> list[Question] | None:
    """Read every recording before anything is loaded; None means the microphone."""
    if not files:
        if cut_in:
            raise ConfigError("--cut-in needs recordings to cut in with")
        return None
    from backtalk.audio.files import read_audio
    from backtalk.talk import Question

    delays = dict(_parse_cut_in(text, len(files)) for text in cut_in)
    return [
        Question(path.name, read_audio(path), delays.get(n))
        for n, path in enumerate(files, start=1)
    ]


def _parse_cut_in(text: str, count: int) -> tuple[int, float]:
    number, separator, delay = text.partition("@")
    if not separator or not number.isdigit() or not delay.isdigit():
        raise ConfigError(f"--cut-in {text!r}: use N@MS, e.g. 2@1500")
    if not 2 <= int(number) <= count:
        raise ConfigError(
            f"--cut-in {text!r}: recording {number} of {count} has no reply before it"
        )
    return int(number), float(delay)


def _check_writable(path: Path | None) -> None:
    if path is not None and not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: make the folder {path.parent} first")


def _turn_json(exchange: Exchange) -> dict[str, Any]:
    latency = exchange.latency
    ttfa_ms = exchange.ttfa_ms if latency is not None else None
    return {
        "question": exchange.question,
        "transcript": exchange.transcript,
        "reply": " ".join(exchange.reply.split()),
        "ttfa_ms": round(ttfa_ms, 1) if ttfa_ms is not None else None,
        "stages": {name: round(ms, 1) for name, ms in exchange.stages_ms().items()},
        "rtf": round(latency.rtf, 4) if latency is not None and latency.rtf is not None else None,
        "interrupted": exchange.was_interrupted,
        "barge_in_ms": latency.barge_in_ms if latency is not None else None,
        "underruns": latency.underruns if latency is not None else 0,
        "cut": exchange.was_cut,
        "errors": exchange.errors,
    }


def _print(exchanges: list[Exchange], out: Path | None, timeline: Path | None) -> None:
    from rich.console import Console

    from backtalk.latency.table import turns_table

    console = Console()
    for exchange in exchanges:
        reply = " ".join(exchange.reply.split())
        tail = " [dim](interrupted here)[/]" if exchange.was_interrupted else ""
        console.print(f"[bold]user [/] {exchange.transcript or '(nothing was heard)'}")
        console.print(f"[bold]agent[/] {reply or '-'}{tail}", highlight=False)
    rows = [
        (e.question, e.stages_ms(), e.ttfa_ms, "interrupted" if e.was_interrupted else "")
        for e in exchanges
    ]
    if rows:
        console.print(turns_table(rows))
    for path in (out, timeline):
        if path is not None and path.exists():
            console.print(f"wrote {path}", highlight=False)


def _draw(
    path: Path, system: str, exchanges: list[Exchange], recorder: ConversationRecorder
) -> None:
    from backtalk.latency.picture import TurnPicture, draw_conversation

    turns = [
        TurnPicture(
            f"turn {n}",
            e.stages_ms(),
            e.speech_end_s - (recorder.began_s or 0.0) if e.speech_end_s else None,
            e.transcript,
            "(interrupted)" if e.was_interrupted else "",
        )
        for n, e in enumerate(exchanges, start=1)
    ]
    draw_conversation(
        path,
        recorder.user_channel,
        recorder.agent_channel,
        recorder.sample_rate,
        turns,
        f"{system}: a conversation on its true time line",
    )
