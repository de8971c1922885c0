"""The log between a session and its sockets."""

from __future__ import annotations

import asyncio

import pytest

from backtalk.server.event_log import Entry, EventLog


def entry(n: int, audio_ms: float = 0.0) -> Entry:
    return Entry(f"event_{n}", str(n).encode(), audio_ms)


def read(log: EventLog, count: int) -> list[str]:
    read = []
    for _ in range(count):
        next_entry = log.unsent()
        assert next_entry is not None
        read.append(next_entry.event_id)
        log.sent()
    return read


async def test_events_are_read_in_order_and_the_reader_is_told_of_each_and_of_the_end() -> None:
    log, told = EventLog(10), []
    log.on_news = lambda: told.append(log.end)
    for n in range(3):
        log.append(entry(n))
    assert read(log, 3) == ["event_0", "event_1", "event_2"]
    assert log.unsent() is None
    assert told == [1, 2, 3]
    log.close()
    assert log.is_closed
    assert told == [1, 2, 3, 3]


async def test_audio_that_is_taken_back_is_not_sent_and_makes_room() -> None:
    log = EventLog(100)
    for n in range(10):
        log.append(entry(n, audio_ms=0.0 if n % 4 == 0 else 40.0))
    assert read(log, 2) == ["event_0", "event_1"]
    log.take_back_audio()
    assert read(log, 2) == ["event_4", "event_8"]
    assert log.unsent() is None
    assert log.position == log.end == 10
    await asyncio.wait_for(log.room(), 1)
    log.rewind("event_0")
    assert read(log, 3) == ["event_1", "event_4", "event_8"]


async def test_a_reader_that_comes_back_gets_what_follows_its_last_event() -> None:
    log = EventLog(10)
    log.kept = EventLog.KEPT
    for n in range(6):
        log.append(entry(n))
    read(log, 5)
    log.acknowledge(2)
    log.rewind("event_3")
    assert read(log, 2) == ["event_4", "event_5"]
    log.rewind("event_0")
    assert read(log, 5) == [f"event_{n}" for n in range(1, 6)]
    log.rewind(None)
    assert log.unsent().event_id == "event_1"  # type: ignore[union-attr]


async def test_a_reader_with_an_event_long_gone_gets_all_that_is_kept() -> None:
    log = EventLog(1000)
    log.kept = EventLog.KEPT
    for n in range(EventLog.KEPT + 50):
        log.append(entry(n))
        read(log, 1)
    log.acknowledge(EventLog.KEPT + 50)
    log.rewind("event_3")
    assert log.unsent().event_id == "event_50"  # type: ignore[union-attr]


@pytest.mark.parametrize("kept", [0, EventLog.KEPT])
async def test_received_events_are_dropped_but_for_those_of_a_client_that_may_return(
    kept: int,
) -> None:
    log = EventLog(1000)
    log.kept = kept
    for n in range(900):
        log.append(entry(n))
    read(log, 900)
    assert len(log._entries) == 900
    log.acknowledge(900)
    assert len(log._entries) == kept


async def test_no_more_is_kept_than_allowed_even_if_nothing_is_ever_received() -> None:
    log = EventLog(100)
    for n in range(5000):
        log.append(entry(n))
        read(log, 1)
    assert len(log._entries) <= 101


async def test_audio_waits_while_too_much_of_it_is_unsent() -> None:
    log = EventLog(1000)
    written = 0

    async def write() -> None:
        nonlocal written
        for n in range(100):
            await log.room()
            log.append(entry(n, audio_ms=40))
            written += 1

    writing = asyncio.create_task(write())
    await asyncio.sleep(1)
    assert written == EventLog.MAX_UNSENT_AUDIO_MS / 40
    for _ in range(10):
        read(log, 1)
        await asyncio.sleep(0.1)
    assert written == 10 + EventLog.MAX_UNSENT_AUDIO_MS / 40
    log.close()
    await writing


async def test_a_log_that_nobody_will_read_keeps_nothing() -> None:
    log = EventLog(100)
    for n in range(5):
        log.append(entry(n))
    read(log, 2)
    log.close()
    log.forget()
    assert log.unsent() is None
    assert not log._entries
    assert log.position == log.end == 5


@pytest.mark.parametrize("position", [0, 1, 3])
async def test_nothing_is_received_twice_or_unreceived(position: int) -> None:
    log = EventLog(10)
    for n in range(3):
        log.append(entry(n))
    read(log, 3)
    log.acknowledge(3)
    log.acknowledge(position)
    assert log.is_received
