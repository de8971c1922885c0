"""The outbox: order, bounds, and taking audio back."""

from __future__ import annotations

import asyncio

import numpy as np

from backtalk.stream.events import IdleTimeout, ReplyAudio, ReplyText
from backtalk.stream.outbox import Outbox


def audio(n: int) -> ReplyAudio:
    return ReplyAudio(0.0, 1, n, np.zeros(1, np.float32))


async def test_events_come_out_in_order_and_end_after_close() -> None:
    outbox = Outbox()
    outbox.put(ReplyText(0.0, 1, "a"))
    await outbox.put_audio(audio(0))
    outbox.put(ReplyText(0.0, 1, "b"))
    outbox.close()
    outbox.put(ReplyText(0.0, 1, "too late"))
    kinds = [type(event).__name__ async for event in outbox.read()]
    assert kinds == ["ReplyText", "ReplyAudio", "ReplyText"]


async def test_audio_waits_for_a_slow_reader_and_other_events_do_not() -> None:
    outbox = Outbox(max_audio_events=2)
    sent: list[int] = []

    async def send() -> None:
        for n in range(5):
            await outbox.put_audio(audio(n))
            sent.append(n)

    sending = asyncio.create_task(send())
    await asyncio.sleep(1)
    assert sent == [0, 1]
    outbox.put(IdleTimeout(0.0, 1.0))
    reader = outbox.read()
    first = await anext(reader)
    await asyncio.sleep(1)
    assert isinstance(first, ReplyAudio)
    assert sent == [0, 1, 2]
    outbox.close()
    await sending
    await reader.aclose()


async def test_audio_taken_back_is_never_read_and_makes_room() -> None:
    outbox = Outbox(max_audio_events=2)
    await outbox.put_audio(audio(0))
    outbox.put(ReplyText(0.0, 1, "kept"))
    await outbox.put_audio(audio(1))
    outbox.take_back_audio()
    await asyncio.wait_for(outbox.put_audio(audio(2)), 1)
    outbox.close()
    events = [event async for event in outbox.read()]
    assert [getattr(e, "offset", "text") for e in events] == ["text", 2]


async def test_a_dead_reader_costs_bounded_memory() -> None:
    outbox = Outbox(max_events=10)
    for n in range(100):
        outbox.put(ReplyText(0.0, 1, str(n)))
    outbox.close()
    assert len([event async for event in outbox.read()]) == 10
    assert outbox.dropped_events == 90
