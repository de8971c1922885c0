"""`backtalk serve`: the Realtime protocol and the page, for one or more systems."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.agent_options import (
    AgentChoice,
    AsrOption,
    LlmModelOption,
    LlmOption,
    LlmUrlOption,
    SetOption,
    TtsOption,
    TtsOptionOption,
    VoiceConversionOption,
    turn_settings,
)
from backtalk.errors import ConfigError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from rich.console import Console

    from backtalk.server.settings import ServerSettings
    from backtalk.systems import Agent

_EXAMPLES = """
Examples:

  backtalk serve                                   this machine only; open the page it prints

  backtalk serve --system cascade --system echo    two models to choose from

  backtalk serve --system llvc --voice alto        talk, and hear yourself in another voice

  BACKTALK_TOKEN=... backtalk serve --host 0.0.0.0 others may connect, with the token
"""


def serve(
    system: Annotated[
        list[str] | None,
        typer.Option("--system", help="A system to serve; the first is the default. Repeatable."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8765,
    token: Annotated[
        list[str] | None,
        typer.Option(envvar="BACKTALK_TOKEN", help="Key that clients must present. Repeatable."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let others connect without a token.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web page of another site that may connect. Repeatable."),
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(help="Conversations at once.", min=1, show_default="64")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Folder: record every conversation there.")
    ] = None,
    otel: Annotated[
        bool, typer.Option("--otel", help="Export a span per turn (set up by OTEL_ variables).")
    ] = False,
    asr: AsrOption = None,
    llm: LlmOption = None,
    llm_url: LlmUrlOption = None,
    llm_model: LlmModelOption = None,
    tts: TtsOption = None,
    tts_option: TtsOptionOption = None,
    voice_conversion: VoiceConversionOption = None,
    voice: Annotated[
        str | None,
        typer.Option(
            help="Whom the system llvc sounds like: a file, a name in the store, or random-0 "
            "(noise); else the only voice there, or the one that comes with the package."
        ),
    ] = None,
    chunk_frames: Annotated[
        int | None,
        typer.Option(
            help="Milliseconds of a chunk of the system llvc, of the sizes that its voice has "
            "learned."
        ),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Serve OpenAI's Realtime protocol, and a page to talk to."""
    import asyncio

    from rich.console import Console

    from backtalk.realtime.limits import Limits
    from backtalk.server.admission import check_open_files
    from backtalk.server.drain import listen
    from backtalk.server.settings import ServerSettings

    limits = Limits()
    if sessions is not None:
        limits = replace(
            limits, sessions=sessions, sessions_per_address=sessions, sessions_per_token=sessions
        )
    if record is not None and not record.is_dir():
        raise ConfigError(f"--record {record}: there is no such folder; make it first")
    settings = ServerSettings(
        host=host,
        port=port,
        tokens=tuple(token or ()),
        is_insecure=insecure,
        allowed_origins=tuple(allow_origin or ()),
        record_dir=record,
        has_tracing=otel,
        turns=turn_settings(set_),
        limits=limits,
    )
    check_open_files(limits.sessions)
    systems = list(dict.fromkeys(system or ["cascade"]))
    if voice is not None and "llvc" not in systems:
        raise ConfigError(
            "--voice is whom the system llvc sounds like: add --system llvc, or have replies "
            "converted with --voice-conversion"
        )
    if chunk_frames is not None and "llvc" not in systems:
        raise ConfigError("--chunk-frames is of the system llvc: add --system llvc")
    conversion = {"voice": voice, "chunk_frames": chunk_frames}
    choices = [
        AgentChoice(name, asr, llm, llm_url, llm_model, tts, tts_option, voice_conversion)
        for name in systems
    ]
    # The port is taken before anything is loaded: whoever finds it taken need not wait.
    listener = listen(settings)
    console = Console(stderr=True)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(choices, conversion, settings, listener, console))
    finally:
        listener.close()


serve.__doc__ = f"{serve.__doc__}\n{_EXAMPLES}"


async def _serve(
    choices: list[AgentChoice],
    conversion: dict[str, Any],
    settings: ServerSettings,
    listener: socket.socket,
    console: Console,
) -> None:
    import asyncio

    from backtalk.server.agent_pool import AgentPool
    from backtalk.server.app import build_app
    from backtalk.server.drain import build_server

    agents = {}
    for choice in choices:
        with console.status(f"loading {choice.system}"):
            agents[choice.system] = _load(choice, conversion, settings.limits.sessions)
    pool = AgentPool(agents)
    server = build_server(build_app(pool, settings), settings)
    serving = asyncio.create_task(server.serve([listener]))
    warming = asyncio.create_task(pool.until_warm())
    with console.status("warming up"):
        await asyncio.wait({serving, warming}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        try:
            await warming
        except BaseException:
            server.should_exit = True
            await serving
            raise
        _announce(settings, listener.getsockname()[1], pool.default, console)
    warming.cancel()
    await serving


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """libuv's loop, a quarter cheaper per frame than Python's own; there is none for Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _load(choice: AgentChoice, conversion: dict[str, Any], sessions: int) -> Agent:
    from backtalk.systems import build_agent

    options: dict[str, Any] = {"voice_conversion": choice.voice_conversion}
    if choice.system == "cascade":
        options = choice.builder_options()
    elif choice.system == "llvc":
        options |= conversion
    # One more than there may be clients: for the self-test behind `/ready`.
    return build_agent(choice.system, slots=sessions + 1, **options)


def _announce(settings: ServerSettings, port: int, model: str, console: Console) -> None:
    is_any = settings.host in ("0.0.0.0", "::")  # noqa: S104
    host = "localhost" if settings.is_loopback or is_any else settings.host
    address = f"{host}:{port}"
    key = "$BACKTALK_TOKEN" if settings.tokens else "any"
    lines = [
        f"[bold]backtalk[/] is ready: [bold]http://{address}/[/]",
        f"  Realtime clients   ws://{address}/v1/realtime?model={model}",
        f"  openai, in Python  OpenAI(base_url='http://{address}/v1', api_key='{key}')",
        f"  which models       curl -H 'Authorization: Bearer {key}' http://{address}/v1/models",
    ]
    if settings.is_insecure and not settings.tokens and not settings.is_loopback:
        lines.append("[bold red]anybody who can reach this address may use it (--insecure)[/]")
    if settings.record_dir is not None:
        lines.append(f"[bold]every conversation is recorded[/] to {settings.record_dir}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
