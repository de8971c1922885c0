"""Virtual time: waiting costs nothing, work outside is waited for."""

from __future__ import annotations

import asyncio
import time

from backtalk.stream.clock import now_s, run_virtual, waiting_on_outside
from backtalk.stream.worker import ModelWorker


async def test_a_long_sleep_takes_no_time_and_the_clock_shows_it() -> None:
    before_s, real_s = now_s(), time.monotonic()
    await asyncio.sleep(3600)
    assert now_s() - before_s == 3600
    assert time.monotonic() - real_s < 1


async def test_timers_fire_in_order_whatever_was_skipped() -> None:
    fired: list[str] = []

    async def after(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        fired.append(name)

    await asyncio.gather(after(30, "c"), after(10, "a"), after(20, "b"))
    assert fired == ["a", "b", "c"]


async def test_time_stands_still_while_a_thread_computes() -> None:
    worker = ModelWorker("test")
    before_s = now_s()
    await asyncio.gather(worker.run(time.sleep, 0.05), asyncio.sleep(0.01))
    assert now_s() - before_s < 0.011
    worker.close()


def test_work_counts_when_asked_to_and_silence_is_still_skipped() -> None:
    async def main() -> float:
        worker = ModelWorker("test")
        before_s = now_s()
        await worker.run(time.sleep, 0.05)
        await asyncio.sleep(100)
        worker.close()
        return now_s() - before_s

    began_s = time.monotonic()
    assert 100.05 <= run_virtual(main(), counts_work=True) < 101
    assert time.monotonic() - began_s < 5


async def test_network_waits_are_not_skipped_over() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with waiting_on_outside():
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
            writer.close()
            await writer.wait_closed()
    server.close()
