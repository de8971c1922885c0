"""Conversation items: their JSON in the protocol, and the memory entries behind them."""

from __future__ import annotations

from typing import Any

from backtalk.errors import ProtocolError
from backtalk.realtime import fields
from backtalk.realtime.limits import Limits
from backtalk.session.memory import Entry, Message, new_entry_id, tool_call_json

MESSAGE_ROLES = ("system", "user", "assistant")


def entry_from_json(item: dict[str, Any], limits: Limits) -> tuple[Entry, str | None]:
    """Read an item that a client made.

    Returns:
        The entry, and the base64 audio whose words are its text, None if it came as text.
    Raises:
        ProtocolError: it is no item this server understands.
    """
    item_id = fields.text(item, "id", 64, default="") or new_entry_id()
    kind = fields.one_of(item, "type", ("message", "function_call", "function_call_output"), "")
    if kind == "function_call":
        call_id = fields.text(item, "call_id", 64, default="") or item_id
        arguments = fields.text(item, "arguments", limits.text_chars, default="{}")
        call = tool_call_json(call_id, fields.text(item, "name", 128), arguments)
        return Entry(item_id, Message("assistant", "", (call,))), None
    if kind == "function_call_output":
        output = fields.text(item, "output", limits.text_chars)
        call_id = fields.text(item, "call_id", 64)
        return Entry(item_id, Message("tool", output, tool_call_id=call_id)), None
    role = fields.one_of(item, "role", MESSAGE_ROLES, "")
    text, audio = _content(fields.items(item, "content", 64), limits)
    return Entry(item_id, Message(role, text)), audio if role == "user" else None


def _content(parts: list[dict[str, Any]], limits: Limits) -> tuple[str, str | None]:
    texts: list[str] = []
    audio: str | None = None
    for part in parts:
        kind = part.get("type")
        if kind in ("input_text", "output_text", "text"):
            texts.append(fields.text(part, "text", limits.text_chars))
        elif kind in ("input_audio", "output_audio", "audio"):
            if part.get("transcript"):
                texts.append(fields.text(part, "transcript", limits.text_chars))
            elif part.get("audio"):
                audio = fields.text(part, "audio", limits.message_bytes)
        else:
            raise ProtocolError(
                "invalid_value",
                f"content of type {kind!r} is not understood; send input_text or input_audio",
                "item.content",
            )
    return "\n".join(texts), audio


def item_json(entry: Entry, *, is_voice: bool, status: str = "completed") -> dict[str, Any]:
    """An entry as the protocol shows it.

    Args:
        is_voice: it was spoken, by the user or to them.
        status: `in_progress`, `completed` or `incomplete`.
    """
    message = entry.message
    base = {"id": entry.id, "object": "realtime.item", "status": status}
    if message.tool_calls:
        call = message.tool_calls[0]
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        return {
            **base,
            "type": "function_call",
            "call_id": call["id"],
            "name": name,
            "arguments": arguments,
        }
    if message.role == "tool":
        call_id, output = message.tool_call_id, message.content
        return {**base, "type": "function_call_output", "call_id": call_id, "output": output}
    part: dict[str, Any]
    if is_voice:
        kind = "input_audio" if message.role == "user" else "output_audio"
        part = {"type": kind, "transcript": message.content or None}
    else:
        kind = "output_text" if message.role == "assistant" else "input_text"
        part = {"type": kind, "text": message.content}
    return {**base, "type": "message", "role": message.role, "content": [part]}
