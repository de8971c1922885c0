"""OpenAI's chat format, which both language model plug-ins speak: messages out, deltas in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backtalk.cascade.protocols import LlmSettings, ToolRequest
from backtalk.errors import StageError
from backtalk.session.memory import Message

# Arguments of a tool call are held back until they are whole, so they need a limit.
MAX_ARGUMENTS_CHARS = 64 * 1024
MAX_TOOL_CALLS = 32


def message_json(message: Message) -> dict[str, Any]:
    """One message as a request carries it."""
    fields: dict[str, Any] = {"role": message.role, "content": _encodable(message.content)}
    if message.tool_calls:
        fields["tool_calls"] = list(message.tool_calls)
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def request_json(messages: Sequence[Message], settings: LlmSettings) -> dict[str, Any]:
    """The body of a streaming request."""
    body: dict[str, Any] = {
        "messages": [message_json(message) for message in messages],
        "stream": True,
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
    }
    if settings.tools:
        body["tools"] = list(settings.tools)
        body["tool_choice"] = settings.tool_choice
    return body


def _encodable(text: str) -> str:
    """Half a surrogate pair is no character and has no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")


class ChatDeltas:
    """Puts the chunks of one streamed reply together.

    Attributes:
        is_finished: a finish reason has been seen.
    """

    def __init__(self) -> None:
        self.is_finished = False
        self._calls: dict[int, dict[str, str]] = {}

    def read(self, chunk: Any) -> str:
        """Take one decoded chunk and return the text in it, often empty.

        Raises:
            StageError: it is not a chunk of a reply, or it reports an error.
        """
        try:
            if error := chunk.get("error"):
                said = error.get("message", error) if isinstance(error, dict) else error
                raise StageError("llm", f"the language model failed: {one_line(said)}")
            text = ""
            for choice in chunk.get("choices") or []:
                if choice.get("index", 0) != 0:
                    continue
                delta = choice.get("delta") or {}
                content = delta.get("content")
                text += content if isinstance(content, str) else ""
                for call in delta.get("tool_calls") or []:
                    self._read_call(call)
                self.is_finished = self.is_finished or choice.get("finish_reason") is not None
            return text
        except (AttributeError, TypeError, ValueError) as error:
            raise StageError(
                "llm", f"the language model sent no chat chunk but {one_line(chunk)}"
            ) from error

    def _read_call(self, delta: dict[str, Any]) -> None:
        function = delta.get("function") or {}
        index = int(delta.get("index") or 0)
        call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        call["id"] = call["id"] or delta.get("id") or ""
        call["name"] = call["name"] or function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""
        if len(call["arguments"]) > MAX_ARGUMENTS_CHARS or len(self._calls) > MAX_TOOL_CALLS:
            raise StageError(
                "llm",
                f"the language model's tool call is over {MAX_ARGUMENTS_CHARS} characters or "
                f"{MAX_TOOL_CALLS} calls; lower max_tokens",
            )

    def tool_requests(self) -> list[ToolRequest]:
        """The tool calls of the reply, once it is over."""
        return [
            ToolRequest(call["id"] or f"call_{index}", call["name"], call["arguments"] or "{}")
            for index, call in sorted(self._calls.items())
            if call["name"]
        ]


def one_line(value: Any) -> str:
    """A short piece of something unexpected, to show in an error."""
    return " ".join(str(value).split())[:200]
