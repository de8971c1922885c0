"""One response of the protocol, told event by event as its reply is made and heard."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import numpy as np

from backtalk.realtime.audio_format import AudioOut, format_json
from backtalk.realtime.outgoing import OutgoingAudio, audio_head

Emit = Callable[..., str]
"""Sends a server event (`type`, then its fields) and returns its id."""

_NO_USAGE = {
    # Tokens are not counted here; clients want the fields to be there.
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
}


class Response:
    """Writes the events of one response, in the order clients rely on.

    Args:
        emit: where events go.
        new_event_id: ids for audio, which is not sent through `emit`.
        sample_rate: Hz of the audio it will be given.
        audio_format: type of the client's audio.
        voice: named in the response.
        speaks: False for a response in text.
        conversation_id: None for one that is no part of the conversation.
        metadata: the client's own, given back.
        max_output_tokens: named in the response.

    Attributes:
        id: of the response.
        message_id: of its message, None as long as there is none.
        is_done: its last event has been sent.
        audio_ms: how much audio it has.
    """

    def __init__(
        self,
        emit: Emit,
        new_event_id: Callable[[], str],
        sample_rate: int,
        audio_format: str,
        *,
        voice: Any = "default",
        speaks: bool = True,
        conversation_id: str | None = None,
        metadata: dict[str, str] | None = None,
        max_output_tokens: int | str = "inf",
    ) -> None:
        self.id = f"resp_{secrets.token_hex(10)}"
        self.message_id: str | None = None
        self.is_done = False
        self.audio_ms = 0.0
        self._emit, self._new_event_id = emit, new_event_id
        self._rate, self._format = sample_rate, audio_format
        self._encoder = AudioOut(sample_rate, audio_format)
        self._speaks = speaks
        self._said = ""
        self._head = b""
        self._message_index = 0
        self._output: list[dict[str, Any]] = []
        self._base: dict[str, Any] = {
            "object": "realtime.response",
            "id": self.id,
            "conversation_id": conversation_id,
            "output_modalities": ["audio"] if speaks else ["text"],
            "audio": {"output": {"format": format_json(audio_format), "voice": voice}},
            "max_output_tokens": max_output_tokens,
            "metadata": metadata,
        }
        self._emit("response.created", response=self._json("in_progress"))

    @property
    def is_in_conversation(self) -> bool:
        """False for an out-of-band response."""
        return self._base["conversation_id"] is not None

    def open_message(self, item_id: str, previous_item_id: str | None) -> None:
        """Begin its message; once."""
        self.message_id = item_id
        self._message_index = len(self._output)
        self._output.append(self._message("in_progress", with_content=False))
        self._head = audio_head(self.id, item_id, self._message_index)
        self._add_item(self._message_index, previous_item_id)
        self._emit("response.content_part.added", **self._part_ids(), part=self._part(""))

    def say(self, text: str) -> None:
        """More of its text."""
        self._said += text
        kind = "output_audio_transcript" if self._speaks else "output_text"
        self._emit(f"response.{kind}.delta", **self._part_ids(), delta=text)

    def audio(self, pcm: np.ndarray) -> OutgoingAudio:
        """More of its sound: float32 [T]."""
        assert self.message_id is not None
        duration_ms = 1000.0 * len(pcm) / self._rate
        self.audio_ms += duration_ms
        return OutgoingAudio(
            self._new_event_id(),
            self.id,
            self.message_id,
            pcm,
            duration_ms,
            self._head,
            self._encoder.encode(pcm),
        )

    def last_audio(self) -> OutgoingAudio | None:
        """What resampling held back, once there is no more to come."""
        held = self._encoder.flush()
        if not held or self.message_id is None:
            return None
        silence = np.zeros(0, np.float32)
        return OutgoingAudio(
            self._new_event_id(), self.id, self.message_id, silence, 0.0, self._head, held
        )

    def call_tool(self, item: dict[str, Any], previous_item_id: str | None) -> None:
        """A tool request: an item that is complete at once."""
        index, name, arguments = len(self._output), item["name"], item["arguments"]
        ids = {"response_id": self.id, "item_id": item["id"], "output_index": index}
        kind = "response.function_call_arguments"
        self._output.append({**item, "status": "in_progress", "arguments": ""})
        self._add_item(index, previous_item_id)
        self._emit(f"{kind}.delta", **ids, call_id=item["call_id"], delta=arguments)
        whole = {"call_id": item["call_id"], "name": name, "arguments": arguments}
        self._emit(f"{kind}.done", **ids, **whole)
        self._output[index] = item
        self._close_item(index, previous_item_id)

    def finish(
        self,
        status: str,
        *,
        reason: str | None = None,
        error: str | None = None,
        previous_item_id: str | None = None,
    ) -> None:
        """Close what is open, and the response. A second call does nothing.

        Args:
            status: `completed`, `cancelled` or `failed`.
            reason: why it was cancelled: `turn_detected` or `client_cancelled`.
            error: why it failed.
        """
        if self.is_done:
            return
        self.is_done = True
        if self.message_id is not None:
            self._close_message("completed" if status == "completed" else "incomplete")
            self._close_item(self._message_index, previous_item_id)
        details: dict[str, Any] | None = None
        if status == "cancelled":
            details = {"type": "cancelled", "reason": reason}
        elif status == "failed":
            failure = {"type": "server_error", "code": "stage_failed", "message": error}
            details = {"type": "failed", "error": failure}
        self._emit("response.done", response=self._json(status, details))
        self._emit("rate_limits.updated", rate_limits=[])

    def _close_message(self, status: str) -> None:
        if self._speaks:
            self._emit("response.output_audio.done", **self._part_ids())
            transcript = {**self._part_ids(), "transcript": self._said}
            self._emit("response.output_audio_transcript.done", **transcript)
        else:
            self._emit("response.output_text.done", **self._part_ids(), text=self._said)
        part = self._part(self._said)
        self._emit("response.content_part.done", **self._part_ids(), part=part)
        self._output[self._message_index] = self._message(status)

    def _add_item(self, index: int, previous_item_id: str | None) -> None:
        item = self._output[index]
        ids = {"response_id": self.id, "output_index": index}
        self._emit("response.output_item.added", **ids, item=item)
        if self.is_in_conversation:
            links = {"previous_item_id": previous_item_id, "item": item}
            self._emit("conversation.item.added", **links)

    def _close_item(self, index: int, previous_item_id: str | None) -> None:
        item = self._output[index]
        ids = {"response_id": self.id, "output_index": index}
        self._emit("response.output_item.done", **ids, item=item)
        if self.is_in_conversation:
            links = {"previous_item_id": previous_item_id, "item": item}
            self._emit("conversation.item.done", **links)

    def _part_ids(self) -> dict[str, Any]:
        return {
            "response_id": self.id,
            "item_id": self.message_id,
            "output_index": self._message_index,
            "content_index": 0,
        }

    def _part(self, text: str) -> dict[str, Any]:
        # In this one place the types have no `output_` before them.
        if self._speaks:
            return {"type": "audio", "transcript": text}
        return {"type": "text", "text": text}

    def _message(self, status: str, *, with_content: bool = True) -> dict[str, Any]:
        part = self._part(self._said)
        part["type"] = f"output_{part['type']}"
        return {
            "id": self.message_id,
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [part] if with_content else [],
        }

    def _json(self, status: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            **self._base,
            "status": status,
            "status_details": details,
            "output": list(self._output),
            "usage": None if status == "in_progress" else _NO_USAGE,
        }
