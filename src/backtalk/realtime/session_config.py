"""The protocol's session object: what a client asked for, and what that means here.

An update is merged into it field by field. What this server has no use for (an unknown voice, a
transcription model's name, tracing) is taken and mapped, never refused: clients send their own
defaults. Source of names and defaults: OpenAI's Realtime API (GA) and its Python types.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from backtalk.errors import ProtocolError
from backtalk.realtime import fields
from backtalk.realtime.audio_format import ALAW, PCM, PCM_RATE, ULAW, format_json
from backtalk.realtime.limits import Limits
from backtalk.session.responder import ReplyOptions
from backtalk.session.settings import TurnSettings

VENDOR_INCLUDES = ("backtalk.latency", "backtalk.partials", "backtalk.resume", "backtalk.playout")
EAGERNESS_WAIT_MS = {"low": 8000, "medium": 4000, "high": 2000}
"""Longest silence in an unfinished turn. `auto` keeps this server's own, shorter wait."""

_DEFAULT_TURN_DETECTION = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}


class SessionConfig:
    """The effective session object.

    Args:
        session_id, model: as the client sees them.
        turns: the server's own turn-taking, changed where the client says so.

    Attributes:
        json: the object in the protocol's form.
    """

    def __init__(self, session_id: str, model: str, turns: TurnSettings, limits: Limits) -> None:
        self._turns = turns
        self._limits = limits
        self.json: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "audio": {
                "input": {
                    "format": format_json(PCM),
                    "transcription": {"model": "backtalk"},
                    "noise_reduction": None,
                    "turn_detection": dict(_DEFAULT_TURN_DETECTION),
                },
                "output": {"format": format_json(PCM), "voice": "default", "speed": 1.0},
            },
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "include": None,
        }

    def update(self, changes: dict[str, Any]) -> None:
        """Merge an update; nothing changes if any of it is wrong.

        Raises:
            ProtocolError: a field has a value that makes no sense.
        """
        json = deepcopy(self.json)
        for name, value in changes.items():
            if name == "audio":
                self._merge_audio(json["audio"], fields.mapping(changes, "audio"))
            elif name in _CHECKS and value is not None:
                json[name] = _CHECKS[name](changes, self._limits)
            elif name in _EMPTIED and value is None:
                json[name] = deepcopy(_EMPTIED[name])
            elif name in ("prompt", "tracing", "truncation", "reasoning"):
                json[name] = value
        self.json = json

    def _merge_audio(self, audio: dict[str, Any], changes: dict[str, Any]) -> None:
        heard, spoken = audio["input"], audio["output"]
        new_in, new_out = fields.mapping(changes, "input"), fields.mapping(changes, "output")
        for side, new in ((heard, new_in), (spoken, new_out)):
            if new.get("format") is not None:
                side["format"] = _format(new["format"])
        for name in ("transcription", "noise_reduction"):
            if name in new_in:
                heard[name] = None if new_in[name] is None else fields.mapping(new_in, name)
        if "turn_detection" in new_in:
            asked = new_in["turn_detection"]
            heard["turn_detection"] = None if asked is None else _turn_detection(asked)
        if new_out.get("voice") is not None:
            voice = new_out["voice"]
            spoken["voice"] = (
                voice if isinstance(voice, dict) else fields.text(new_out, "voice", 64)
            )
        if new_out.get("speed") is not None:
            spoken["speed"] = fields.number(new_out, "speed", 0.25, 1.5)

    # What it means here.

    @property
    def includes(self) -> frozenset[str]:
        """The vendor events this client wants."""
        return frozenset(VENDOR_INCLUDES) & frozenset(self.json["include"] or ())

    @property
    def is_transcribed(self) -> bool:
        """Whether the client wants to see what the user said."""
        return self.json["audio"]["input"]["transcription"] is not None

    @property
    def format_in(self) -> str:
        """Type of the audio the client sends."""
        return str(self.json["audio"]["input"]["format"]["type"])

    @property
    def format_out(self) -> str:
        """Type of the audio the client gets."""
        return str(self.json["audio"]["output"]["format"]["type"])

    def turn_settings(self) -> TurnSettings:
        """How turns are taken."""
        own, asked = self._turns, self.json["audio"]["input"]["turn_detection"]
        if asked is None:
            return replace(own, ends_turns=False)
        policy = replace(
            own,
            ends_turns=True,
            replies=asked["create_response"] and self.json["type"] == "realtime",
            yields=asked["interrupt_response"],
        )
        if asked["type"] == "semantic_vad":
            wait_ms = EAGERNESS_WAIT_MS.get(asked["eagerness"], own.incomplete_wait_ms)
            return replace(policy, incomplete_wait_ms=wait_ms)
        silence_ms = int(asked["silence_duration_ms"])
        return replace(
            policy,
            speech_threshold=asked["threshold"],
            silence_threshold=min(own.silence_threshold, asked["threshold"]),
            pre_roll_ms=int(asked["prefix_padding_ms"]),
            soft_end_ms=min(own.soft_end_ms, silence_ms),
            complete_wait_ms=silence_ms,
            incomplete_wait_ms=silence_ms,
            idle_timeout_s=(asked["idle_timeout_ms"] or 0) / 1000,
        )

    def reply_options(self, overrides: dict[str, Any] | None = None) -> ReplyOptions:
        """What replies are asked for.

        Args:
            overrides: of one `response.create`, checked by the caller (`reply_overrides`).
        """
        asked = {**self.json, **(overrides or {})}
        max_tokens = asked["max_output_tokens"]
        return ReplyOptions(
            instructions=asked["instructions"] or None,
            tools=tuple(_chat_tool(tool) for tool in asked["tools"]),
            tool_choice=_chat_tool_choice(asked["tool_choice"]),
            max_tokens=None if max_tokens == "inf" else max_tokens,
            temperature=asked.get("temperature"),
            speaks="audio" in asked["output_modalities"],
        )


def reply_overrides(response: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The fields of a `response.create` that change the session's for one reply.

    Raises:
        ProtocolError: one of them makes no sense.
    """
    return {
        name: check(response, limits)
        for name, check in _CHECKS.items()
        if response.get(name) is not None and name != "type"
    }


def _modalities(changes: dict[str, Any], limits: Limits) -> list[str]:
    asked = changes["output_modalities"]
    known = ("text", "audio")
    if not isinstance(asked, list) or not asked or any(a not in known for a in asked):
        raise ProtocolError(
            "invalid_value", 'output_modalities is ["audio"] or ["text"]', "output_modalities"
        )
    return ["audio"] if "audio" in asked else ["text"]


def _max_tokens(changes: dict[str, Any], limits: Limits) -> int | str:
    if changes["max_output_tokens"] == "inf":
        return "inf"
    return int(fields.number(changes, "max_output_tokens", 1, 4096))


def _tools(changes: dict[str, Any], limits: Limits) -> list[dict[str, Any]]:
    tools = fields.items(changes, "tools", limits.tools)
    for tool in tools:
        if tool.get("type", "function") == "function":
            fields.text(tool, "name", 128)
    return tools


def _tool_choice(changes: dict[str, Any], limits: Limits) -> Any:
    choice = changes["tool_choice"]
    if isinstance(choice, dict):
        return choice
    return fields.one_of(changes, "tool_choice", ("auto", "none", "required"), "auto")


_CHECKS: dict[str, Any] = {
    "type": lambda c, _: fields.one_of(c, "type", ("realtime", "transcription"), "realtime"),
    "instructions": lambda c, limits: fields.text(c, "instructions", limits.text_chars),
    "output_modalities": _modalities,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": lambda c, _: fields.flag(c, "parallel_tool_calls", True),
    "max_output_tokens": _max_tokens,
    "temperature": lambda c, _: fields.number(c, "temperature", 0, 2),
    "include": lambda c, _: fields.texts(c, "include", 64),
}
_EMPTIED: dict[str, Any] = {
    "instructions": "",
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "include": None,
}


def _format(asked: Any) -> dict[str, Any]:
    kind = asked.get("type") if isinstance(asked, dict) else None
    if kind not in (PCM, ULAW, ALAW):
        raise ProtocolError(
            "invalid_value", f"format.type must be {PCM}, {ULAW} or {ALAW}", "format.type"
        )
    if kind == PCM and asked.get("rate", PCM_RATE) != PCM_RATE:
        raise ProtocolError("invalid_value", f"{PCM} must have rate {PCM_RATE}", "format.rate")
    return format_json(kind)


def _turn_detection(asked: Any) -> dict[str, Any]:
    if not isinstance(asked, dict):
        raise ProtocolError("invalid_type", "turn_detection must be an object", "turn_detection")
    kind = fields.one_of(asked, "type", ("server_vad", "semantic_vad"), "server_vad")
    both = {
        "type": kind,
        "create_response": fields.flag(asked, "create_response", True),
        "interrupt_response": fields.flag(asked, "interrupt_response", True),
    }
    if kind == "semantic_vad":
        known = ("low", "medium", "high", "auto")
        return {**both, "eagerness": fields.one_of(asked, "eagerness", known, "auto")}
    idle_ms = asked.get("idle_timeout_ms")
    if idle_ms is not None:
        idle_ms = fields.number(asked, "idle_timeout_ms", 100, 600_000)
    return {
        **both,
        "threshold": fields.number(asked, "threshold", 0, 1, 0.5),
        "prefix_padding_ms": fields.number(asked, "prefix_padding_ms", 0, 5_000, 300),
        "silence_duration_ms": fields.number(asked, "silence_duration_ms", 0, 30_000, 500),
        "idle_timeout_ms": idle_ms,
    }


def _chat_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as language models' chat endpoints declare it, one level deeper."""
    if "function" in tool:
        return tool
    function = {k: tool[k] for k in ("name", "description", "parameters") if k in tool}
    return {"type": "function", "function": function}


def _chat_tool_choice(choice: Any) -> Any:
    if isinstance(choice, dict) and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice
