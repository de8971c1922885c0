"""What a client may say: one function for each client event of the protocol."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from backtalk.errors import BacktalkError, ConfigError, ProtocolError
from backtalk.realtime import fields
from backtalk.realtime.audio_format import AudioIn
from backtalk.realtime.items import entry_from_json
from backtalk.realtime.realtime_session import RealtimeSession
from backtalk.realtime.response import Response
from backtalk.realtime.session_config import reply_overrides
from backtalk.session.memory import Entry, Message, memory_of, new_entry_id
from backtalk.session.responder import ReplyOptions, Said, Sound
from backtalk.stream.cancel import CancelToken
from backtalk.systems import TurnAgent

log = logging.getLogger(__name__)

Event = dict[str, Any]

MIN_COMMIT_MS = 100.0
MAX_ASIDES = 4
"""Responses out of band at once in one session."""


async def handle_event(rt: RealtimeSession, event: Event) -> None:
    """Do what a client asks; what is wrong with it is answered by an `error` event."""
    if rt.is_closed:
        return
    try:
        handler = HANDLERS.get(event["type"])
        if handler is None:
            raise ProtocolError(
                "unknown_event", f"there is no client event {event['type'][:80]!r}", "type"
            )
        await handler(rt, event)
    except ProtocolError as error:
        rt.refuse(error, event)
    except BacktalkError as error:
        rt.refuse(ProtocolError("invalid_value", str(error)), event)
    except Exception:
        log.exception("client event failed in %s", rt.id)
        rt.fail("the event could not be processed", event)


async def update_session(rt: RealtimeSession, event: Event) -> None:
    """`session.update`: merge, and answer with the whole session object."""
    changes = fields.mapping(event, "session")
    before, format_in = rt.config.json, rt.config.format_in
    rt.config.update({name: value for name, value in changes.items() if name != "model"})
    try:
        rt.apply_config()
    except ConfigError as error:
        rt.config.json = before
        raise ProtocolError("invalid_value", str(error), "session") from error
    if rt.config.format_in != format_in:
        rt.audio_in = AudioIn(rt.config.format_in, rt.sample_rate_in)
    rt.emit("session.updated", session=rt.session_json())


async def append_audio(rt: RealtimeSession, event: Event) -> None:
    """`input_audio_buffer.append`: hear it; no answer."""
    if rt.transport == "webrtc":
        raise ProtocolError("invalid_event", "on WebRTC audio travels on the audio track", "type")
    pcm, duration_ms = rt.audio_in.decode(event.get("audio"), rt.limits.append_ms)
    rt.buffered_ms += duration_ms
    if len(pcm):
        await rt.feed(pcm)


async def commit_audio(rt: RealtimeSession, event: Event) -> None:
    """`input_audio_buffer.commit`: the user's turn is over; makes no response."""
    is_held = not rt.turn_settings().ends_turns
    if is_held and rt.buffered_ms < MIN_COMMIT_MS and rt.transport == "websocket":
        raise ProtocolError(
            "input_audio_buffer_commit_empty",
            f"the buffer holds {rt.buffered_ms:.0f} ms of audio; at least {MIN_COMMIT_MS:.0f} ms "
            "are needed",
        )
    if rt.turns.commit() is None:
        raise ProtocolError(
            "input_audio_buffer_commit_empty", "nobody has spoken since the last turn"
        )


async def clear_audio(rt: RealtimeSession, event: Event) -> None:
    """`input_audio_buffer.clear`."""
    rt.turns.clear()
    rt.buffered_ms = 0.0
    rt.emit("input_audio_buffer.cleared")


async def clear_output(rt: RealtimeSession, event: Event) -> None:
    """`output_audio_buffer.clear`: WebRTC clients have no buffer of their own."""
    if rt.transport != "webrtc":
        raise ProtocolError(
            "invalid_event", "output_audio_buffer.clear is for WebRTC; send response.cancel", "type"
        )
    rt.turns.cancel_reply()


async def create_item(rt: RealtimeSession, event: Event) -> None:
    """`conversation.item.create`."""
    entry, audio = entry_from_json(fields.mapping(event, "item"), rt.limits)
    after = event.get("previous_item_id")
    if after is not None and not isinstance(after, str):
        raise ProtocolError("invalid_type", "previous_item_id is a string", "previous_item_id")
    memory = rt.turns.memory
    if memory.get(entry.id) is not None:
        raise ProtocolError("item_create_duplicate_id", f"{entry.id} is there already", "item.id")
    if after not in (None, "root") and memory.get(str(after)) is None:
        raise ProtocolError(
            "item_create_invalid_previous_item_id", f"there is no item {after}", "previous_item_id"
        )
    if audio is None:
        memory.add(entry, after)
    else:
        pcm, _ = AudioIn(rt.config.format_in, rt.sample_rate_in).decode(audio, rt.limits.append_ms)
        rt.voice_items.add(entry.id)
        rt.turns.add_spoken(entry, pcm, after)
    rt.add_item(entry)


async def retrieve_item(rt: RealtimeSession, event: Event) -> None:
    """`conversation.item.retrieve`."""
    entry = _kept(rt, event)
    if entry is not None:
        rt.emit("conversation.item.retrieved", item=rt.show(entry))


async def delete_item(rt: RealtimeSession, event: Event) -> None:
    """`conversation.item.delete`."""
    entry = _kept(rt, event)
    if entry is None:
        return
    rt.turns.memory.remove(entry.id)
    rt.voice_items.discard(entry.id)
    rt.emit("conversation.item.deleted", item_id=entry.id)


async def truncate_item(rt: RealtimeSession, event: Event) -> None:
    """`conversation.item.truncate`: forget what the user has not heard of a reply."""
    entry = _kept(rt, event)
    if entry is None:
        return
    end_ms = fields.number(event, "audio_end_ms", 0, 1e9)
    fields.number(event, "content_index", 0, 0, 0)
    if entry.message.role != "assistant" or entry.message.tool_calls:
        raise ProtocolError(
            "invalid_value", f"{entry.id} is no reply; only replies can be truncated", "item_id"
        )
    samples = round(end_ms * rt.sample_rate_out / 1000)
    response = rt.response
    is_present = response is not None and response.message_id == entry.id
    if entry.spoken is None and not is_present:
        raise ProtocolError("invalid_value", f"{entry.id} has no audio to truncate", "item_id")
    length_ms = response.audio_ms if is_present and response is not None else 0.0
    if entry.spoken is not None:
        length_ms = max(length_ms, 1000 * entry.spoken.samples / rt.sample_rate_out)
    if end_ms > length_ms + 1:
        raise ProtocolError(
            "invalid_value",
            f"audio_end_ms {end_ms:.0f} is past the end of the audio, {length_ms:.0f} ms",
            "audio_end_ms",
        )
    rt.turns.truncate(entry.id, samples)
    ids = {"item_id": entry.id, "content_index": 0, "audio_end_ms": round(end_ms)}
    rt.emit("conversation.item.truncated", **ids)


async def create_response(rt: RealtimeSession, event: Event) -> None:
    """`response.create`: reply to the conversation, or beside it."""
    asked = fields.mapping(event, "response")
    overrides = reply_overrides(asked, rt.limits)
    metadata = fields.mapping(asked, "metadata") or None
    if metadata and (len(metadata) > 16 or any(len(str(v)) > 512 for v in metadata.values())):
        raise ProtocolError(
            "invalid_value", "metadata has at most 16 values of 512 characters", "metadata"
        )
    options = rt.config.reply_options(overrides)
    context = _context(rt, asked)
    noted = {**overrides, "metadata": metadata}
    if asked.get("conversation") == "none":
        _reply_aside(rt, options, context, noted)
        return
    if rt.has_active_response:
        raise ProtocolError(
            "conversation_already_has_active_response",
            "a response is still in progress; wait for response.done or cancel it",
        )
    rt.asked[rt.turns.reply(options, context)] = noted


def _context(rt: RealtimeSession, asked: Event) -> list[Message] | None:
    """What to reply to instead of the conversation; None is the conversation."""
    if asked.get("input") is None:
        return None
    messages: list[Message] = []
    for item in fields.items(asked, "input", rt.limits.items):
        if item.get("type") == "item_reference":
            messages.append(_known(rt, {"item_id": item.get("id")}).message)
        else:
            entry, _ = entry_from_json(item, rt.limits)
            messages.append(entry.message)
    return messages


def _reply_aside(
    rt: RealtimeSession, options: ReplyOptions, context: list[Message] | None, noted: Event
) -> None:
    if len(rt.asides) >= MAX_ASIDES:
        raise ProtocolError(
            "too_many_responses", f"{MAX_ASIDES} responses out of band are in progress already"
        )
    messages = rt.turns.memory.messages() if context is None else context
    task = asyncio.create_task(_run_aside(rt, options, messages, noted))
    rt.asides.add(task)
    task.add_done_callback(rt.asides.discard)


async def _run_aside(
    rt: RealtimeSession, options: ReplyOptions, messages: list[Message], noted: Event
) -> None:
    """A reply that is no part of the conversation: nothing of it is remembered or paced."""
    assert isinstance(rt.agent, TurnAgent)
    response = Response(
        rt.emit,
        rt.new_event_id,
        rt.sample_rate_out,
        rt.config.format_out,
        speaks=options.speaks,
        metadata=noted.get("metadata"),
    )
    conversation = rt.agent.responder.open(memory_of(messages))
    try:
        async for part in conversation.respond(None, options, CancelToken()):
            if isinstance(part, Said | Sound) and response.message_id is None:
                response.open_message(new_entry_id(), None)
            if isinstance(part, Said):
                response.say(part.text)
            elif isinstance(part, Sound):
                await rt.emit_audio(response.audio(part.pcm))
        response.finish("completed")
    except BacktalkError as error:
        response.finish("failed", error=str(error))
    except Exception:
        log.exception("a response out of band failed in %s", rt.id)
        response.finish("failed", error="the reply could not be made")
    finally:
        await conversation.close()


async def cancel_response(rt: RealtimeSession, event: Event) -> None:
    """`response.cancel`."""
    wanted, current = event.get("response_id"), rt.response
    is_other = wanted is not None and (current is None or current.is_done or wanted != current.id)
    if is_other or not rt.has_active_response:
        raise ProtocolError("response_cancel_not_active", "no such response is in progress")
    rt.turns.cancel_reply()


async def report_playout(rt: RealtimeSession, event: Event) -> None:
    """`backtalk.playout`: how much of an item has come out of the loudspeaker."""
    rt.played(fields.text(event, "item_id", 64), fields.number(event, "played_ms", 0, 1e9))


def _kept(rt: RealtimeSession, event: Event) -> Entry | None:
    """The item that is meant; None if it was taken back, of which the client is told again.

    Clients truncate or read an item while the news of its end is still on the way to them, and to
    some any `error` is the end of the session.
    """
    item_id = event.get("item_id")
    if isinstance(item_id, str) and item_id in rt.withdrawn:
        rt.emit("conversation.item.deleted", item_id=item_id)
        return None
    return _known(rt, event)


def _known(rt: RealtimeSession, event: Event) -> Entry:
    item_id = fields.text(event, "item_id", 64)
    entry = rt.turns.memory.get(item_id)
    if entry is None:
        raise ProtocolError("item_not_found", f"there is no item {item_id}", "item_id")
    return entry


HANDLERS: dict[str, Callable[[RealtimeSession, Event], Awaitable[None]]] = {
    "session.update": update_session,
    "input_audio_buffer.append": append_audio,
    "input_audio_buffer.commit": commit_audio,
    "input_audio_buffer.clear": clear_audio,
    "output_audio_buffer.clear": clear_output,
    "conversation.item.create": create_item,
    "conversation.item.retrieve": retrieve_item,
    "conversation.item.delete": delete_item,
    "conversation.item.truncate": truncate_item,
    "response.create": create_response,
    "response.cancel": cancel_response,
    "backtalk.playout": report_playout,
}
