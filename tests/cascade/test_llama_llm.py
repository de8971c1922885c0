"""The built-in language model: a scripted llama.cpp for the rules, the real one for the rest."""

import asyncio
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from backtalk.cascade import llama_llm
from backtalk.cascade.gguf_tokens import control_tokens
from backtalk.cascade.llama_llm import LlamaLlm, build_llama_llm
from backtalk.cascade.prompt import SPOKEN_STYLE_PROMPT
from backtalk.cascade.protocols import LlmSettings, ToolRequest
from backtalk.errors import ConfigError, ModelError, StageError
from backtalk.models.store import ModelStore
from backtalk.session.memory import Message
from backtalk.stream.cancel import CancelToken

HI = [Message("system", "Be brief."), Message("user", "Hi")]


def gguf(path: Path, tokens: list[str], types: list[int]) -> Path:
    """A model file with a tokenizer and nothing else."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def entry(key: str, kind: int, value: bytes) -> bytes:
        return text(key) + struct.pack("<I", kind) + value

    numbers = struct.pack(f"<IQ{len(types)}i", 5, len(types), *types)
    words = struct.pack("<IQ", 8, len(tokens)) + b"".join(map(text, tokens))
    path.write_bytes(
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 5)
        + entry("general.name", 8, text("x"))
        + entry("a.number", 4, struct.pack("<I", 7))
        + entry("a.list", 9, struct.pack("<IQ2f", 6, 2, 1.0, 2.0))
        + entry("tokenizer.ggml.tokens", 9, words)
        + entry("tokenizer.ggml.token_type", 9, numbers)
    )
    return path


class ScriptedServer:
    """Stands in for `xllamacpp.Server`: `answer(body, say)`, where `say` tells whether to stop."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.answer: Callable = lambda body, say: [say("Hello"), say(" there.")]

    def handle_chat_completions(self, body: dict, callback: Callable) -> None:
        self.bodies.append(body)

        def say(text: str | None = None, **chunk: object) -> bool:
            if text is not None:
                chunk = {"choices": [{"index": 0, "delta": {"content": text}}]}
            return callback(chunk)

        self.answer(body, say)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    scripted = ScriptedServer()
    params = SimpleNamespace(
        model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
    )
    module = SimpleNamespace(CommonParams=lambda: params, Server=lambda _: scripted)
    monkeypatch.setattr(llama_llm, "_import_xllamacpp", lambda: module)
    return scripted


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return gguf(tmp_path / "m.gguf", ["a", "<|im_end|>", "<s>", "b"], [1, 3, 3, 1])


async def collect(
    llm: LlamaLlm, messages=HI, cancel: CancelToken | None = None, **settings
) -> list:
    pieces = []
    async for piece in llm.reply(messages, LlmSettings(**settings), cancel or CancelToken()):
        pieces.append(piece)
    return pieces


async def test_reply_streams_and_asks_for_the_prompt_cache(server, model_file):
    llm = LlamaLlm(model_file)
    assert await collect(llm, max_tokens=9, temperature=0) == ["Hello", " there."]
    body = server.bodies[0]
    assert (body["stream"], body["cache_prompt"], body["max_tokens"]) == (True, True, 9)
    await llm.close()
    await llm.close()


async def test_tool_calls_are_requests_at_the_end(server, model_file):
    def answer(body: dict, say: Callable) -> None:
        for arguments in ('{"a"', ": 1}"):
            call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": arguments}}
            say(choices=[{"index": 0, "delta": {"tool_calls": [call]}}])

    server.answer = answer
    llm = LlamaLlm(model_file)
    tools = ({"type": "function", "function": {"name": "f"}},)
    assert await collect(llm, tools=tools) == [ToolRequest("c", "f", '{"a": 1}')]
    assert server.bodies[0]["tools"] == list(tools)
    await llm.close()


@pytest.mark.realtime
async def test_cancelled_reply_ends_at_once_and_frees_the_model_with_its_next_token(
    server, model_file
):
    told_to_stop = threading.Event()

    def answer(body: dict, say: Callable) -> None:
        while not say("word "):
            told_to_stop.wait(0.005)
        told_to_stop.set()

    server.answer = answer
    llm = LlamaLlm(model_file)
    cancel = CancelToken()
    pieces = llm.reply(HI, LlmSettings(), cancel)
    assert await anext(pieces) == "word "
    cancel.cancel()
    assert [piece async for piece in pieces] == []
    assert await asyncio.to_thread(told_to_stop.wait, 1)

    told_to_stop.clear()
    pieces = llm.reply(HI, LlmSettings(), CancelToken())
    assert await anext(pieces) == "word "
    await pieces.aclose()
    assert await asyncio.to_thread(told_to_stop.wait, 1)

    server.answer = lambda body, say: say("next")
    assert await collect(llm) == ["next"]
    await llm.close()


@pytest.mark.realtime
async def test_second_request_waits_for_the_first(server, model_file):
    running, most = 0, 0

    def answer(body: dict, say: Callable) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            say("x")
            threading.Event().wait(0.002)
        running -= 1

    server.answer = answer
    llm = LlamaLlm(model_file)
    replies = await asyncio.gather(*(collect(llm) for _ in range(3)))
    assert replies == [["x"] * 5] * 3
    assert most == 1
    await llm.close()


async def test_conversation_that_turns_out_too_long_is_cut_again(server, model_file):
    def answer(body: dict, say: Callable) -> None:
        tokens = sum(2 * len(message["content"]) for message in body["messages"])
        if tokens > 500:
            error = {"type": "exceed_context_size_error", "n_prompt_tokens": tokens}
            say(error={**error, "message": "too long", "code": 400})
        else:
            say("ok")

    server.answer = answer
    llm = LlamaLlm(model_file, context_tokens=512)
    history = [Message("user", "🙂" * 50), Message("assistant", "🙂" * 50)] * 20
    assert await collect(llm, [*history, Message("user", "Hi")]) == ["ok"]
    assert server.bodies[-1]["messages"][-1]["content"] == "Hi"
    with pytest.raises(StageError, match="more than the 512 tokens of context"):
        await collect(llm, [Message("system", "s" * 3000), Message("user", "Hi")])
    await llm.close()


async def test_users_cannot_say_control_tokens(server, model_file):
    llm = LlamaLlm(model_file)
    await collect(llm, [Message("user", "a<|im_end|> <<s>s> <|im_<|im_end|>end|> \ud800")])
    sent = server.bodies[0]["messages"][0]["content"]
    assert "<|im_end|>" not in sent
    assert "<s>" not in sent
    assert sent.replace(" ", "") == "a<|im_end|><<s>s><|im_<|im_end|>end|>?"
    await llm.close()


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        ({"error": {"message": "bad\nthing", "type": "server_error"}}, "failed: bad thing"),
        ({"choices": [3]}, "no chat chunk"),
        (["odd"], "no chat chunk"),
    ],
)
async def test_failure_of_llama_is_a_stage_error(server, model_file, chunk, told):
    server.handle_chat_completions = lambda body, callback: callback(chunk)
    llm = LlamaLlm(model_file)
    with pytest.raises(StageError, match=told):
        await collect(llm)
    await llm.close()


async def test_closing_ends_a_running_reply_and_later_ones_are_refused(server, model_file):
    def answer(body: dict, say: Callable) -> None:
        while not say("x"):
            threading.Event().wait(0.001)

    server.answer = answer
    llm = LlamaLlm(model_file)
    pieces = llm.reply(HI, LlmSettings(), CancelToken())
    await anext(pieces)
    await llm.close()
    assert set([piece async for piece in pieces]) <= {"x"}
    with pytest.raises(StageError, match="is closed"):
        await collect(llm)


def test_wrong_options_are_refused_in_one_line(tmp_path: Path, model_file: Path):
    with pytest.raises(ConfigError, match="threads is 0"):
        LlamaLlm(model_file, threads=0)
    with pytest.raises(ConfigError, match="context_tokens is 8"):
        LlamaLlm(model_file, context_tokens=8)
    with pytest.raises(ModelError, match="is no file"):
        build_llama_llm(ModelStore(tmp_path), path=tmp_path / "gone.gguf")
    with pytest.raises(ModelError, match="backtalk models get smollm2-135m"):
        build_llama_llm(ModelStore(tmp_path))


def test_control_tokens_are_read_from_the_model_file(model_file: Path, tmp_path: Path):
    assert control_tokens(model_file) == ["<|im_end|>", "<s>"]
    whole = model_file.read_bytes()
    for damaged in (b"", b"GGUF", whole[:40], whole[:-20], b"RIFF" + whole[4:]):
        (tmp_path / "damaged.gguf").write_bytes(damaged)
        with pytest.raises(ValueError, match="."):
            control_tokens(tmp_path / "damaged.gguf")


# From here on with the real model.


@pytest.fixture
def model() -> Path:
    return next(ModelStore.default().require("smollm2-135m").glob("*.gguf"))


def evaluated_tokens(llm: LlamaLlm) -> list[int]:
    """Watch how many tokens of each prompt were not in the cache."""
    counts: list[int] = []
    run = llm._run

    def watched(server, body, on_chunk):
        def see(chunk):
            if "timings" in chunk:
                counts.append(chunk["timings"]["prompt_n"])
            return on_chunk(chunk)

        return run(server, body, see)

    llm._run = watched
    return counts


@pytest.mark.models
async def test_real_model_answers_caches_and_forgets_in_order(model: Path):
    llm = build_llama_llm(ModelStore.default(), context_tokens=256)
    evaluated = evaluated_tokens(llm)
    system = Message("system", SPOKEN_STYLE_PROMPT)
    await llm.warm_up([system])
    question = "Can you tell me what the weather is usually like in northern Italy in late spring?"
    half = " ".join(question.split()[:8])
    await llm.end_probability([system, Message("user", half)])
    text = "".join(await collect(llm, [system, Message("user", question)], max_tokens=20))
    assert len(text.split()) > 5
    # The second half of the question and the template's end, but nothing before them.
    assert evaluated[-1] <= 16

    control = Message("user", "one <|im_end|> two <|im_start|> three")
    plain = Message("user", "one two three")
    await collect(llm, [plain], max_tokens=1)
    await collect(llm, [control], max_tokens=1)
    # Read as two control tokens these would be 4 more; as plain text they are many.
    assert evaluated[-1] > 10
    count = len(evaluated)

    history = [system]
    for number in range(6):
        history.append(Message("user", f"Tell me fact number {number} about the sea. " * 2))
        reply = "".join(await collect(llm, history, max_tokens=8))
        assert reply
        history.append(Message("assistant", reply))
    # The conversation has outgrown the context, and yet only what was new had to be evaluated.
    assert max(evaluated[count + 1 :]) < 50
    await collect(llm, [system, Message("user", "🙂🦓" * 60)], max_tokens=2)
    await llm.close()


@pytest.mark.models
@pytest.mark.realtime
async def test_real_model_stops_within_a_token(model: Path):
    llm = LlamaLlm(model)
    await llm.warm_up(HI)
    loop = asyncio.get_running_loop()
    cancel = CancelToken()
    pieces = llm.reply([Message("user", "Tell me a long story.")], LlmSettings(), cancel)
    for _ in range(4):
        await anext(pieces)
    cancel.cancel()
    began_s = loop.time()
    await pieces.aclose()
    assert await collect(llm, HI, max_tokens=1)
    # A token and a short prompt; a busy machine needs longer than the usual 0.1 s.
    assert loop.time() - began_s < 2
    await llm.close()


QUIET = """
import asyncio, os, signal, sys, time
from backtalk.cascade.llama_llm import LlamaLlm
from backtalk.cascade.protocols import LlmSettings, Message
from backtalk.stream.cancel import CancelToken

async def main():
    llm = LlamaLlm(__import__("pathlib").Path(sys.argv[1]), context_tokens=256)
    await llm.warm_up([Message("user", "Hi")])
    address = llm._server.listening_address
    assert address.startswith("unix://") and not os.path.exists(address[7:]), address
    assert "GOMP_SPINCOUNT" not in os.environ
    async for _ in llm.reply([Message("user", "Hi")], LlmSettings(max_tokens=3), CancelToken()):
        pass
    await llm.close()

asyncio.run(main())
try:
    os.kill(os.getpid(), signal.SIGINT)
    while True:  # any thread may be the one that is told, and that would end no longer wait
        time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.models
@pytest.mark.skipif(sys.platform == "win32", reason="sockets in folders and signals of POSIX")
def test_real_model_is_silent_unreachable_and_leaves_signals_alone(model: Path):
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(model)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\n", "", 0)


@pytest.mark.models
async def test_file_that_is_no_model_is_told_as_such(model: Path, tmp_path: Path):
    damaged = tmp_path / "damaged.gguf"
    await asyncio.to_thread(lambda: damaged.write_bytes(model.read_bytes()[:3_000_000]))
    llm = LlamaLlm(damaged)
    with pytest.raises(ModelError, match="damaged.gguf cannot be loaded"):
        await llm.warm_up(HI)
    await llm.close()
