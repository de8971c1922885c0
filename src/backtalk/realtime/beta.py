"""The protocol's first dialect, translated at the edge by one table each way.

Clients of the beta (header `OpenAI-Beta: realtime=v1`, or a flat session object in their first
update) use other names for the same things.
"""

from __future__ import annotations

from typing import Any

from backtalk.realtime.audio_format import ALAW, PCM, ULAW
from backtalk.realtime.outgoing import OutgoingAudio

_FORMATS = {"pcm16": PCM, "g711_ulaw": ULAW, "g711_alaw": ALAW}
_FORMAT_NAMES = {kind: name for name, kind in _FORMATS.items()}
_FLAT_FIELDS = (
    "modalities",
    "voice",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "turn_detection",
    "max_response_output_tokens",
)
_SERVER_TYPES = {
    f"response.output_{kind}.{step}": f"response.{kind}.{step}"
    for kind in ("audio", "audio_transcript", "text")
    for step in ("delta", "done")
}
_CONTENT_TYPES = {"output_text": "text", "output_audio": "audio"}


def is_beta_event(event: dict[str, Any]) -> bool:
    """Whether a client event is one that only the first dialect knows."""
    session = event.get("session")
    is_update = event.get("type") in ("session.update", "transcription_session.update")
    return is_update and isinstance(session, dict) and any(f in session for f in _FLAT_FIELDS)


def client_event_to_ga(event: dict[str, Any]) -> dict[str, Any]:
    """A client event of the first dialect in the present one."""
    kind = event.get("type")
    if kind in ("session.update", "transcription_session.update"):
        session = event.get("session")
        if isinstance(session, dict):
            purpose = "realtime" if kind == "session.update" else "transcription"
            session = {**_session_to_ga(session), "type": purpose}
        return {**event, "type": "session.update", "session": session}
    if kind == "response.create" and isinstance(event.get("response"), dict):
        return {**event, "response": _session_to_ga(event["response"])}
    return event


def server_event_to_beta(event: dict[str, Any]) -> dict[str, Any] | None:
    """A server event in the first dialect; None if it has no such event."""
    kind = event["type"]
    if kind == "conversation.item.added":
        return {**event, "type": "conversation.item.created", "item": _item_to_beta(event["item"])}
    if kind == "conversation.item.done":
        return None
    event = {**event, "type": _SERVER_TYPES.get(kind, kind)}
    if isinstance(event.get("session"), dict):
        event["session"] = _session_to_beta(event["session"])
    if isinstance(event.get("item"), dict):
        event["item"] = _item_to_beta(event["item"])
    if isinstance(event.get("response"), dict):
        response = dict(event["response"])
        response["output"] = [_item_to_beta(item) for item in response["output"]]
        response["modalities"] = _modalities_to_beta(response.pop("output_modalities"))
        event["response"] = response
    return event


def encode_audio(audio: OutgoingAudio) -> bytes:
    """Audio in the first dialect."""
    return audio.encode().replace(b"response.output_audio.delta", b"response.audio.delta", 1)


def _session_to_ga(session: dict[str, Any]) -> dict[str, Any]:
    flat = dict(session)
    heard: dict[str, Any] = {}
    spoken: dict[str, Any] = {}
    for name, side in (("input_audio_format", heard), ("output_audio_format", spoken)):
        if name in flat:
            asked = flat.pop(name)
            # What is no name of a format is passed on, to be refused where formats are checked.
            is_name = isinstance(asked, str)
            side["format"] = {"type": _FORMATS.get(asked, asked) if is_name else asked}
    for name, key in (
        ("input_audio_transcription", "transcription"),
        ("input_audio_noise_reduction", "noise_reduction"),
        ("turn_detection", "turn_detection"),
    ):
        if name in flat:
            heard[key] = flat.pop(name)
    for name in ("voice", "speed"):
        if name in flat:
            spoken[name] = flat.pop(name)
    for name, key in (
        ("modalities", "output_modalities"),
        ("max_response_output_tokens", "max_output_tokens"),
    ):
        if name in flat:
            flat[key] = flat.pop(name)
    if heard or spoken:
        flat["audio"] = {"input": heard, "output": spoken}
    return flat


def _session_to_beta(session: dict[str, Any]) -> dict[str, Any]:
    flat = dict(session)
    heard, spoken = flat.pop("audio")["input"], session["audio"]["output"]
    modalities, max_tokens = flat.pop("output_modalities"), flat.pop("max_output_tokens", None)
    flat.pop("type", None)
    return {
        **flat,
        "modalities": _modalities_to_beta(modalities),
        "voice": spoken["voice"],
        "input_audio_format": _FORMAT_NAMES[heard["format"]["type"]],
        "output_audio_format": _FORMAT_NAMES[spoken["format"]["type"]],
        "input_audio_transcription": heard["transcription"],
        "turn_detection": heard["turn_detection"],
        "max_response_output_tokens": max_tokens,
    }


def _modalities_to_beta(modalities: list[str]) -> list[str]:
    return ["text", "audio"] if "audio" in modalities else ["text"]


def _item_to_beta(item: dict[str, Any]) -> dict[str, Any]:
    if "content" not in item:
        return item
    parts = [
        {**part, "type": _CONTENT_TYPES.get(part["type"], part["type"])} for part in item["content"]
    ]
    return {**item, "content": parts}
