"""The bad network does the harm it is told to, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from backtalk.bench.toxic_proxy import (
    Bandwidth,
    BitFlip,
    Blackhole,
    Latency,
    LimitBytes,
    Slicer,
    ToxicProxy,
)

pytestmark = pytest.mark.realtime
DATA = np.random.default_rng(0).bytes(20_000)


class Line:
    """A client behind a proxy, whose server gives back what it gets."""

    def __init__(self, proxy: ToxicProxy, ended: list[str]) -> None:
        self.proxy, self.ended = proxy, ended
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def echo(self, data: bytes) -> tuple[bytes, float]:
        began_s = asyncio.get_running_loop().time()
        self.writer.write(data)
        async with asyncio.timeout(5):
            back = await self.reader.readexactly(len(data))
        return back, asyncio.get_running_loop().time() - began_s


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    ended: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            ended.append("fin")
        except ConnectionResetError:
            ended.append("rst")
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        proxy = ToxicProxy("127.0.0.1", server.sockets[0].getsockname()[1])
        async with proxy.run():
            it = Line(proxy, ended)
            it.reader, it.writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            await it.echo(b"hello")
            yield it
            it.writer.close()
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)


async def test_a_good_network_changes_nothing() -> None:
    async with line() as it:
        back, took_s = await it.echo(DATA)
        assert back == DATA
        assert took_s < 0.2
        assert it.proxy.connections == 1


async def test_latency_delays_both_ways_and_keeps_the_order() -> None:
    async with line() as it:
        it.proxy.set_toxics(Latency(50, jitter_ms=20))
        back, took_s = await it.echo(DATA)
        assert back == DATA
        assert 0.06 < took_s < 0.4
        it.proxy.set_toxics()
        assert (await it.echo(DATA))[1] < 0.05


async def test_bandwidth_is_shared_out_over_time() -> None:
    async with line() as it:
        it.proxy.set_toxics(Bandwidth(40_000), direction="down")
        back, took_s = await it.echo(DATA)
        assert back == DATA
        assert 0.4 < took_s < 1.0


async def test_slices_of_one_byte_carry_the_same_bytes() -> None:
    async with line() as it:
        it.proxy.set_toxics(Slicer(1))
        assert (await it.echo(DATA[:2000]))[0] == DATA[:2000]


async def test_a_stall_holds_everything_and_loses_nothing() -> None:
    async with line() as it:
        stalling = asyncio.create_task(it.proxy.stall(0.3))
        await asyncio.sleep(0.01)
        back, took_s = await it.echo(DATA)
        assert back == DATA
        assert 0.2 < took_s < 0.6
        await stalling


async def test_flipped_bits_are_as_many_as_asked_for() -> None:
    async with line() as it:
        it.proxy.set_toxics(BitFlip(0.001), direction="up")
        back, _ = await it.echo(DATA)
        wrong = np.unpackbits(np.frombuffer(back, np.uint8) ^ np.frombuffer(DATA, np.uint8)).sum()
        assert 100 < wrong < 240


async def test_a_black_hole_tells_nobody() -> None:
    async with line() as it:
        it.proxy.set_toxics(Blackhole(), direction="up")
        it.writer.write(DATA)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(it.reader.read(1), 0.2)
        assert it.ended == []
        it.proxy.set_toxics()
        assert (await it.echo(b"back"))[0] == b"back"


async def test_after_so_many_bytes_it_is_over() -> None:
    async with line() as it:
        it.proxy.set_toxics(LimitBytes(1005), direction="down")
        it.writer.write(DATA)
        async with asyncio.timeout(2):
            assert await it.reader.read() == DATA[:1000]


async def test_a_reset_is_felt_on_both_sides() -> None:
    async with line() as it:
        it.proxy.drop("rst")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(it.reader.read(1), 2)
        await asyncio.sleep(0.05)
        assert it.ended == ["rst"]
        assert it.proxy.connections == 0


async def test_an_end_of_both_sides_is_no_reset() -> None:
    async with line() as it:
        it.proxy.drop("fin")
        assert await asyncio.wait_for(it.reader.read(1), 2) == b""
        await asyncio.sleep(0.05)
        assert it.ended == ["fin"]


async def test_a_half_closed_client_can_still_read() -> None:
    async with line() as it:
        it.proxy.set_toxics(Latency(100), direction="down")
        it.writer.write(DATA)
        await asyncio.sleep(0.05)
        it.proxy.drop("half")
        async with asyncio.timeout(2):
            assert await it.reader.read() == DATA
        assert it.ended == ["fin"]


async def test_a_script_is_played_at_its_times() -> None:
    async with line() as it:
        proxy = it.proxy
        playing = asyncio.create_task(
            proxy.play(
                [
                    (0.0, lambda: proxy.set_toxics(Latency(80), direction="down")),
                    (0.2, lambda: proxy.set_toxics()),
                    (0.3, lambda: proxy.stall(0.2)),
                ]
            )
        )
        await asyncio.sleep(0.02)
        assert (await it.echo(b"late"))[1] > 0.07
        await asyncio.sleep(0.22 - 0.12)
        assert (await it.echo(b"fast"))[1] < 0.05
        await playing


async def test_a_server_that_is_gone_is_a_reset() -> None:
    proxy = ToxicProxy("127.0.0.1", 9)
    async with proxy.run():
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 2)
        writer.close()
        await asyncio.sleep(0.02)
