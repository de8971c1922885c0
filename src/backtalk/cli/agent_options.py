"""The options that choose an agent, the same for every command that talks to one."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.errors import ConfigError

if TYPE_CHECKING:
    from backtalk.session.settings import TurnSettings

SystemOption = Annotated[str, typer.Option("--system", help="Which system answers.")]
AsrOption = Annotated[str | None, typer.Option("--asr", help="Recogniser plug-in.")]
LlmOption = Annotated[
    str | None,
    typer.Option("--llm", help="Language model: a GGUF file, or a plug-in's name."),
]
LlmUrlOption = Annotated[
    str | None,
    typer.Option("--llm-url", help="OpenAI-compatible endpoint, e.g. http://localhost:8080/v1"),
]
LlmModelOption = Annotated[
    str | None, typer.Option("--llm-model", help="Model name at the endpoint.")
]
TtsOption = Annotated[
    str | None, typer.Option("--tts", help="Voice plug-in: hibari, piper, csm, csm-mini.")
]
TtsOptionOption = Annotated[
    list[str] | None,
    typer.Option("--tts-option", help="An option of the voice, e.g. speed=1.2. Repeatable."),
]
VoiceConversionOption = Annotated[
    str | None,
    typer.Option(
        "--voice-conversion",
        help="Say replies in this LLVC voice: a file, a name in the store, llvc for the one that "
        "comes with the package, or random-0 (noise).",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A turn-taking setting, e.g. --set soft_end_ms=200. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


@dataclass(frozen=True)
class AgentChoice:
    """What the command line said about the agent."""

    system: str
    asr: str | None = None
    llm: str | None = None
    llm_url: str | None = None
    llm_model: str | None = None
    tts: str | None = None
    tts_options: list[str] | None = None
    voice_conversion: str | None = None

    def builder_options(self) -> dict[str, Any]:
        """Options for the system's builder; only what was given."""
        options: dict[str, Any] = {}
        if self.asr is not None:
            options["asr"] = self.asr
        if self.tts is not None:
            options["tts"] = self.tts
        if self.tts_options:
            from backtalk.cascade.cascade import DEFAULT_TTS
            from backtalk.cli.plugin_options import plugin_options

            options["tts_options"] = plugin_options(
                "--tts-option", "backtalk.tts", self.tts or DEFAULT_TTS, self.tts_options
            )
        if self.llm_url is not None:
            options["llm"] = "openai"
            options["llm_options"] = {"base_url": self.llm_url}
            if self.llm_model is not None:
                options["llm_options"]["model"] = self.llm_model
        elif self.llm_model is not None:
            raise ConfigError("--llm-model names a model at an endpoint; give --llm-url as well")
        elif self.llm is not None and self.llm.endswith(".gguf"):
            options["llm_options"] = {"path": self.llm}
        elif self.llm is not None:
            options["llm"] = self.llm
        if self.voice_conversion is not None:
            options["voice_conversion"] = self.voice_conversion
        return options


def turn_settings(changes: list[str] | None) -> TurnSettings:
    """Turn `NAME=VALUE` pairs into settings.

    Raises:
        ConfigError: no such setting, or a value it cannot take.
    """
    from backtalk.session.settings import TurnSettings

    settings = TurnSettings()
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    parsed: dict[str, Any] = {}
    for change in changes or []:
        name, separator, text = change.partition("=")
        if not separator or name not in known:
            raise ConfigError(f"--set {change!r}: use NAME=VALUE with one of {', '.join(known)}")
        parsed[name] = _value(name, text, known[name])
    return replace(settings, **parsed)


def _value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise ConfigError(f"--set {name}={text}: use true or false")
        return text == "true"
    try:
        return type(default)(text)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise ConfigError(f"--set {name}={text}: needs {kind}") from None
