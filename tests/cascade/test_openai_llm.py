"""The endpoint plug-in against a real server on this machine that misbehaves on command."""

import asyncio
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.cascade.openai_llm import OpenAiDeadlines, OpenAiLlm, build_openai_llm
from backtalk.cascade.protocols import LlmSettings, ToolRequest
from backtalk.cascade.sse import SseParser
from backtalk.errors import ConfigError, StageError
from backtalk.session.memory import Message
from backtalk.stream.cancel import CancelToken

HISTORY = [Message("system", "Be brief."), Message("user", "Hi")]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
IMPATIENT = OpenAiDeadlines(first_token_timeout_s=0.3, stall_timeout_s=0.15)

Script = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


def event(**delta: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def texts(*pieces: str) -> bytes:
    return b"".join(event(content=piece) for piece in pieces)


DONE = b"data: [DONE]\n\n"


class Server:
    """Answers the n-th request with `script(writer, n)`, then hangs up."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[dict] = []
        self.headers: list[str] = []
        self.hung_up = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
            self.headers.append(head)
            self.requests.append(json.loads(await reader.readexactly(length)))
            script = asyncio.ensure_future(self._script(writer, len(self.requests)))
            end = asyncio.ensure_future(reader.read(1))
            try:
                await asyncio.wait({script, end}, return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    self.hung_up.set()
            finally:
                script.cancel()
                end.cancel()
                await asyncio.gather(script, end, return_exceptions=True)
        finally:
            writer.close()


@asynccontextmanager
async def endpoint(
    script: Script, deadlines: OpenAiDeadlines | None = None, **options: object
) -> AsyncIterator[tuple[OpenAiLlm, Server]]:
    behaviour = Server(script)
    connections: set[asyncio.Task] = set()

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(behaviour.serve(reader, writer))
        connections.add(task)

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    llm = OpenAiLlm("m", f"http://127.0.0.1:{port}/v1/", deadlines=deadlines, **options)
    try:
        yield llm, behaviour
    finally:
        await llm.close()
        await llm.close()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        # httpx leaves generators for the loop to close.
        await asyncio.sleep(0.01)


async def collect(llm: OpenAiLlm, cancel: CancelToken | None = None, **settings: object) -> list:
    pieces = []
    async for piece in llm.reply(HISTORY, LlmSettings(**settings), cancel or CancelToken()):
        pieces.append(piece)
    return pieces


def sends(*parts: bytes) -> Script:
    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return script


def then_waits(*parts: bytes) -> Script:
    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        await sends(*parts)(writer, number)
        await asyncio.sleep(60)

    return script


async def fails(llm: OpenAiLlm) -> tuple[list, str]:
    """What came before the error, and the error."""
    pieces = []

    async def take_all() -> None:
        async for piece in llm.reply(HISTORY, LlmSettings(), CancelToken()):
            pieces.append(piece)

    with pytest.raises(StageError) as raised:
        await take_all()
    assert raised.value.stage == "llm"
    assert "\n" not in str(raised.value)
    return pieces, str(raised.value)


@pytest.mark.realtime
async def test_reply_streams_piece_by_piece_and_the_request_says_what_was_asked():
    async with endpoint(sends(OK, texts("Hel", "lo", " thère 好"), DONE), api_key="k1") as (
        llm,
        server,
    ):
        assert await collect(llm, max_tokens=7, temperature=0.5) == ["Hel", "lo", " thère 好"]
    body = server.requests[0]
    assert body["model"] == "m"
    assert body["stream"] is True
    assert (body["max_tokens"], body["temperature"]) == (7, 0.5)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "tools" not in body
    assert server.headers[0].startswith("POST /v1/chat/completions ")
    assert "Authorization: Bearer k1\r\n" in server.headers[0]


async def test_network_is_awaited_on_a_virtual_clock_as_well():
    async with endpoint(sends(OK, texts("a", "b"), DONE)) as (llm, _):
        assert await collect(llm) == ["a", "b"]


@pytest.mark.realtime
async def test_one_byte_at_a_time_gives_the_same_reply():
    reply = texts("Hel", "lo thère 好") + DONE
    slices = [OK, *(reply[n : n + 1] for n in range(len(reply)))]
    async with endpoint(sends(*slices)) as (llm, _):
        assert "".join(await collect(llm)) == "Hello thère 好"


@pytest.mark.realtime
async def test_connection_is_used_again():
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (texts("a"), DONE))
    keep = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    connections = 0

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.decode().lower().split("content-length:")[1].split("\r\n")[0])
                await reader.readexactly(length)
                writer.write(keep)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    llm = OpenAiLlm("m", f"http://127.0.0.1:{port}/v1")
    await llm.warm_up(HISTORY)
    assert await collect(llm) == ["a"]
    await llm.close()
    server.close()
    await asyncio.sleep(0.02)
    assert connections == 1


@pytest.mark.realtime
async def test_refused_connection_is_tried_three_times_and_then_told():
    async with endpoint(sends()) as (llm, _):
        pass
    began_s = asyncio.get_running_loop().time()
    pieces, message = await fails(llm)
    assert pieces == []
    assert "refuses connections; is the server running?" in message
    assert 0.12 < asyncio.get_running_loop().time() - began_s < 1
    await llm.close()


@pytest.mark.realtime
async def test_failing_server_is_asked_again_before_the_first_byte():
    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        elif number == 2:
            pass  # hangs up without a word
        else:
            writer.write(OK + texts("ok") + DONE)

    async with endpoint(script) as (llm, server):
        assert await collect(llm) == ["ok"]
        assert len(server.requests) == 3


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("status", "tries", "advice"),
    [
        (401, 1, "set OPENAI_API_KEY or the api_key option"),
        (404, 1, "check base_url"),
        (429, 3, "too many requests"),
        (503, 3, "the server failed"),
        (418, 1, "the request was refused (teapot ***)"),
    ],
)
async def test_refusal_is_told_with_its_status_and_what_to_do(status, tries, advice):
    body = json.dumps({"error": {"message": "teapot\nsecret-key"}}).encode()
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    async with endpoint(sends(answer), api_key="secret-key") as (llm, server):
        _, message = await fails(llm)
        assert len(server.requests) == tries
    assert f"answered {status}: " in message
    assert advice in message
    assert "secret" not in message


@pytest.mark.realtime
async def test_silence_before_the_first_byte_ends_at_its_limit():
    async with endpoint(then_waits(), IMPATIENT) as (llm, server):
        began_s = asyncio.get_running_loop().time()
        pieces, message = await fails(llm)
        assert 0.28 < asyncio.get_running_loop().time() - began_s < 0.8
        await asyncio.wait_for(server.hung_up.wait(), 1)
    assert pieces == []
    assert "sent no text within 0.3 s" in message


@pytest.mark.realtime
async def test_empty_deltas_do_not_count_as_a_first_token():
    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(OK)
        while True:
            writer.write(b": keep-alive\n\n" + event(role="assistant"))
            await asyncio.sleep(0.05)

    async with endpoint(script, IMPATIENT) as (llm, _):
        assert "sent no text within 0.3 s" in (await fails(llm))[1]


@pytest.mark.realtime
async def test_stall_in_the_middle_gives_what_came_and_an_error():
    async with endpoint(then_waits(OK, texts("Well, ", "I")), IMPATIENT) as (llm, _):
        pieces, message = await fails(llm)
    assert pieces == ["Well, ", "I"]
    assert "stalled for 0.15 s" in message


@pytest.mark.realtime
@pytest.mark.parametrize(
    "cut", [OK + texts("Well") + event(content="lost")[:-9], OK + texts("Well")]
)
async def test_reply_cut_in_the_middle_gives_what_came_and_an_error(cut):
    async with endpoint(sends(cut)) as (llm, server):
        pieces, message = await fails(llm)
        assert len(server.requests) == 1
    assert pieces == ["Well"]
    assert "in the middle" in message


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("event_text", "told"),
    [
        (b"data: {nonsense\n\n", "malformed event: {nonsense"),
        (b"data: [1]\n\n", "no chat chunk but [1]"),
        (b'data: {"choices": [3]}\n\n', "no chat chunk"),
        (b'data: {"error": {"message": "out of memory"}}\n\n', "failed: out of memory"),
        (b"data: \xff\xfe\n\n", "malformed event"),
        (b"x" * 2_000_000, "no event stream"),
        (b"<html>hello</html>", "in the middle"),
    ],
)
async def test_malformed_stream_is_told(event_text, told):
    async with endpoint(sends(OK + texts("a") + event_text)) as (llm, _):
        pieces, message = await fails(llm)
    assert pieces == ["a"]
    assert told in message


@pytest.mark.realtime
async def test_tool_calls_in_pieces_become_whole_requests():
    def call(index: int, **fields: object) -> bytes:
        return event(tool_calls=[{"index": index, **fields}])

    reply = (
        event(role="assistant", content=None)
        + call(0, id="c1", function={"name": "weather", "arguments": ""})
        + call(0, function={"arguments": '{"city": '})
        + call(1, id="c2", function={"name": "now"})
        + call(0, function={"arguments": '"Rome"}'})
        + b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}\n\n'
    )
    tools = ({"type": "function", "function": {"name": "weather", "parameters": {}}},)
    async with endpoint(sends(OK, reply)) as (llm, server):
        assert await collect(llm, tools=tools) == [
            ToolRequest("c1", "weather", '{"city": "Rome"}'),
            ToolRequest("c2", "now", "{}"),
        ]
    assert server.requests[0]["tools"] == list(tools)
    assert server.requests[0]["tool_choice"] == "auto"


@pytest.mark.realtime
async def test_flood_is_read_no_faster_than_it_is_taken_and_not_for_ever():
    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(OK)
        words = texts(*["word "] * 100)
        while True:
            writer.write(words)
            await writer.drain()

    async with endpoint(script) as (llm, _):
        tracemalloc.start()
        pieces = await collect(llm, max_tokens=500)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # Ten times what was asked for never arrives; four times does, as tokens can be long.
    assert len("".join(pieces)) < 500 * 20 + 70_000
    assert peak_bytes < 8_000_000


@pytest.mark.realtime
@pytest.mark.parametrize("parts", [(), (OK,), (OK, texts("a"))])
async def test_cancelling_hangs_up_at_once(parts):
    cancel = CancelToken()
    async with endpoint(then_waits(*parts)) as (llm, server):
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, cancel.cancel)
        began_s = loop.time()
        assert len(await collect(llm, cancel)) == len(parts[1:])
        assert loop.time() - began_s < 0.1 + 0.05
        await asyncio.wait_for(server.hung_up.wait(), 0.05)


@pytest.mark.realtime
async def test_closing_the_iterator_hangs_up_at_once():
    async with endpoint(then_waits(OK, texts("a"))) as (llm, server):
        pieces = llm.reply(HISTORY, LlmSettings(), CancelToken())
        assert await anext(pieces) == "a"
        await pieces.aclose()
        await asyncio.wait_for(server.hung_up.wait(), 0.05)


@pytest.mark.realtime
async def test_cancelling_the_task_hangs_up_at_once():
    async with endpoint(then_waits()) as (llm, server):
        task = asyncio.ensure_future(collect(llm))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        await asyncio.wait_for(server.hung_up.wait(), 0.05)


@pytest.mark.realtime
async def test_key_is_neither_logged_nor_shown(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    async with endpoint(sends(OK, DONE), api_key="sk-secret") as (llm, _):
        await collect(llm)
        assert "sk-secret" not in f"{llm!r} {llm.description} {caplog.text}"


def test_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-env")
    assert build_openai_llm(model="m")._key == "from-env"
    assert build_openai_llm(model="m", api_key="")._key == ""


def test_wrong_options_are_refused_in_one_line():
    with pytest.raises(ConfigError, match="set the model option"):
        build_openai_llm()
    for url in ("ftp://x", "localhost:80", "http://", "http://h:port/"):
        with pytest.raises(ConfigError, match="http://host:port/v1"):
            build_openai_llm(model="m", base_url=url)
    with pytest.raises(ConfigError, match="more than 0 s"):
        build_openai_llm(model="m", stall_timeout_s=0)
    with pytest.raises(ConfigError, match="api_key"):
        build_openai_llm(model="m", api_key="a\nb")
    llm = build_openai_llm(model="m", base_url="https://me:pass@host/v1/")
    assert llm.description == "openai m at https://host/v1"


@given(st.data())
def test_events_do_not_depend_on_how_bytes_arrive(data):
    line_end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    stream, wanted = b"", []
    for _ in range(data.draw(st.integers(0, 5))):
        payload = data.draw(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))
        )
        for line in (b": note", b"event: x", b"data: " + payload.encode(), b""):
            stream += line + line_end
        wanted.append(payload)
    parser, events = SseParser(), []
    while stream:
        size = data.draw(st.integers(1, 9))
        events += parser.feed(stream[:size])
        stream = stream[size:]
    assert events == wanted


def test_data_of_several_lines_is_joined():
    assert SseParser().feed(b"data: a\ndata:b\ndata\n\n") == ["a\nb\n"]
