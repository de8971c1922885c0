"""The default language model: a small GGUF model in this process, by llama.cpp on the CPU.

Source: https://github.com/xorbitsai/xllamacpp (MIT), llama.cpp's server as a Python object. Its
defaults are changed where a conversation needs it; the measurements are from two cores with
SmolLM2-135M.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.cascade.chat_json import ChatDeltas, one_line, request_json
from backtalk.cascade.context_window import fit_context
from backtalk.cascade.gguf_tokens import chat_template, control_tokens
from backtalk.cascade.llama_slots import SlotBook
from backtalk.cascade.protocols import LlmSettings, ToolRequest
from backtalk.cascade.sentence_end import end_probability, open_prompt
from backtalk.errors import ConfigError, ModelError, StageError
from backtalk.session.memory import Message
from backtalk.stream.cancel import CancelToken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backtalk.models.store import ModelStore

# Prompts are evaluated in pieces of this many tokens, and a request can only be stopped between
# them: 0.3 s. In pieces of 512, the next request waited 2.4 s for a stopped one.
_BATCH_TOKENS = 64
# When the oldest turns are dropped, the rest of the cached prompt moves up instead of being
# evaluated again: 0.1 s and not 7.5 s for 1000 tokens. Smaller pieces are not moved.
_REUSED_TOKENS = 16
# Between the steps of a token the threads wait for each other in a busy loop. With another process
# on one of the two cores, libgomp's default of 0.3 s took 250 ms for a token, 1000 rounds 50 ms;
# with both cores free they take 12 ms both.
_BUSY_ROUNDS = "1000"
# Left free in the context for what the estimate of a prompt's length gets wrong.
_SPARE_TOKENS = 16
_FIT_TRIES = 5
_POLL_S = 0.1

_Item = str | ToolRequest | StageError | None


class _Job:
    """One request on its way through the worker thread."""

    def __init__(self, cancel: CancelToken | None = None) -> None:
        self._stopped = threading.Event()
        self._cancel = cancel

    def stop(self) -> None:
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set() or (self._cancel is not None and self._cancel.is_cancelled)


class LlamaLlm:
    """Generates with a GGUF model on one worker thread, one request at a time.

    A request waits for the one before it; a stopped one ends with its next token, or while its
    prompt is evaluated with the next 64 tokens. The model is loaded by the first call or `warm_up`.

    Args:
        model_path: the GGUF file.
        threads: that evaluate prompts, 1 or more.
        context_tokens: of prompt and reply together; takes 24 kB each with the default model.
        name: of the model, in reports.
        decode_threads: that generate; None takes as many as `threads`. One takes 20 ms for a token
            where two take 12, but leaves the other core to the voice.
        slots: conversations whose prompts are kept in the cache, each with a context of its own.

    Raises:
        ConfigError: a number makes no sense.
        ModelError: there is no such file.
    """

    def __init__(
        self,
        model_path: Path,
        threads: int = 2,
        context_tokens: int = 2048,
        name: str = "",
        decode_threads: int | None = None,
        slots: int = 1,
    ) -> None:
        decode_threads = threads if decode_threads is None else decode_threads
        for option, value in (
            ("threads", threads),
            ("decode_threads", decode_threads),
            ("slots", slots),
        ):
            if value < 1:
                raise ConfigError(f"llama's {option} is {value}, but it must be 1 or more")
        if context_tokens < 256:
            raise ConfigError(
                f"llama's context_tokens is {context_tokens}, but it must be 256 or more"
            )
        if not model_path.is_file():
            raise ModelError(f"{model_path} is no file; give llama the path of a GGUF model")
        self.description = f"llama.cpp {name or model_path.stem}"
        self._path = model_path
        self._threads = threads
        self._decode_threads = decode_threads
        self._context_tokens = context_tokens
        self._slots, self._slot_book = slots, SlotBook(slots)
        self._server: Any = None
        self._control: re.Pattern[str] | None = None
        self._template: str | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="backtalk-llm")
        self._jobs: set[_Job] = set()
        self._is_closed = False

    async def reply(
        self, messages: Sequence[Message], settings: LlmSettings, cancel: CancelToken
    ) -> AsyncGenerator[str | ToolRequest, None]:
        """Stream a reply; see `protocols.Llm.reply`.

        The oldest turns are left out where the conversation is longer than the context.

        Raises:
            StageError: closed, the system prompt is too long, or llama.cpp failed.
            ModelError: the model cannot be loaded.
        """
        loop = asyncio.get_running_loop()
        # No more pieces than tokens, so the worker thread never finds it full.
        items: asyncio.Queue[_Item] = asyncio.Queue(self._context_tokens + 64)
        job = _Job(cancel)

        def put(item: _Item) -> None:
            try:
                loop.call_soon_threadsafe(items.put_nowait, item)
            except RuntimeError:  # the loop is closed: nobody is waiting any more
                job.stop()

        future = self._start(job, lambda: self._generate(messages, settings, job, put))
        future.add_done_callback(lambda _: items.put_nowait(None))
        try:
            while not cancel.is_cancelled:
                try:
                    async with asyncio.timeout(_POLL_S):
                        item = await items.get()
                except TimeoutError:
                    continue
                if item is None:
                    future.result()
                    return
                if isinstance(item, StageError):
                    raise item
                yield item
        finally:
            job.stop()

    async def warm_up(self, messages: Sequence[Message]) -> None:
        """Load the model and put the start of the conversation into the prompt cache.

        Raises:
            ModelError: the model cannot be loaded.
            StageError: closed, or llama.cpp failed.
        """
        job = _Job()
        await self._start(job, lambda: self._evaluate(messages, job))

    async def end_probability(self, messages: Sequence[Message]) -> float | None:
        """How likely the user's last message is over; see `protocols.Llm.end_probability`.

        The prompt it reads is the beginning of the one that the reply will read, so most of its
        time is not lost.

        Raises:
            StageError: closed, or llama.cpp failed.
        """
        job = _Job()
        found: list[float] = []
        work = self._start(job, lambda: found.extend(self._judge_end(messages)))
        try:
            await work
        finally:
            job.stop()
        return found[0] if found else None

    async def close(self) -> None:
        """Stop what is running and free the model. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        for job in self._jobs:
            job.stop()
        await asyncio.get_running_loop().run_in_executor(self._executor, self._unload)
        self._executor.shutdown(wait=False)

    def _start(self, job: _Job, work: Callable[[], None]) -> asyncio.Future[None]:
        if self._is_closed:
            raise StageError("llm", f"{self.description} is closed; open a new one")
        self._jobs.add(job)
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)

        def ended(future: asyncio.Future[None]) -> None:
            self._jobs.discard(job)
            if not future.cancelled():
                future.exception()  # seen, even if the caller has gone

        future.add_done_callback(ended)
        return future

    # What follows runs on the worker thread.

    def _generate(
        self,
        messages: Sequence[Message],
        settings: LlmSettings,
        job: _Job,
        put: Callable[[_Item], None],
    ) -> None:
        deltas = ChatDeltas()

        def on_chunk(chunk: Any) -> bool:
            if not job.is_stopped and (text := deltas.read(chunk)):
                put(text)
            return job.is_stopped

        self._request(messages, settings, job, on_chunk)
        if not job.is_stopped:
            for request in deltas.tool_requests():
                put(request)

    def _evaluate(self, messages: Sequence[Message], job: _Job) -> None:
        """Fill the cache; llama.cpp cannot do so without one token being generated."""
        self._request(messages, LlmSettings(max_tokens=1), job, lambda _: job.is_stopped)

    def _judge_end(self, messages: Sequence[Message]) -> list[float]:
        """One probability, or none if the model's template cannot be used."""
        server = self._loaded()
        if self._template is None:
            return []
        cleaned = [replace(message, content=self._plain(message.content)) for message in messages]
        fitting = fit_context(cleaned, self._context_tokens // 2)
        prompt = open_prompt(self._template, fitting)
        if prompt is None:
            return []
        body = {"prompt": prompt, "n_predict": 1, "n_probs": 40, "temperature": 0.0}
        cached = {"cache_prompt": True, "id_slot": self._slot_book.pick(messages)}
        try:
            answer = server.handle_completions({**body, **cached})
            choices = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        except Exception as error:
            raise StageError("llm", f"llama.cpp failed: {one_line(error)}") from error
        return [end_probability(choices)]

    def _request(
        self,
        messages: Sequence[Message],
        settings: LlmSettings,
        job: _Job,
        on_chunk: Callable[[Any], bool],
    ) -> None:
        """Run one request, with as much of the conversation as fits."""
        if job.is_stopped:
            return
        server = self._loaded()
        cleaned = [replace(message, content=self._plain(message.content)) for message in messages]
        reply_tokens = min(settings.max_tokens, self._context_tokens // 2)
        room_tokens = self._context_tokens - reply_tokens - _SPARE_TOKENS
        budget_tokens = room_tokens
        slot = self._slot_book.pick(messages)
        for _ in range(_FIT_TRIES):
            fitting = fit_context(cleaned, budget_tokens)
            body = {
                **request_json(fitting, replace(settings, max_tokens=reply_tokens)),
                "cache_prompt": True,
                "id_slot": slot,
                "return_progress": True,  # so that it can be stopped before its first token
            }
            prompt_tokens = self._run(server, body, on_chunk)
            if prompt_tokens is None or job.is_stopped:
                return
            # The estimate was wrong, as with text that is all emoji; now the length is known.
            budget_tokens = min(budget_tokens - 1, budget_tokens * room_tokens // prompt_tokens)
        raise StageError(
            "llm",
            f"system prompt and last turn take more than the {self._context_tokens} tokens of "
            "context; shorten them or raise context_tokens",
        )

    def _run(
        self, server: Any, body: dict[str, Any], on_chunk: Callable[[Any], bool]
    ) -> int | None:
        """One attempt; the prompt's length in tokens if that is more than the context."""
        failures: list[BaseException] = []
        too_long: list[int] = []

        def take(chunk: Any) -> bool:
            # An error must not travel through llama.cpp.
            try:
                error = chunk.get("error") if isinstance(chunk, dict) else None
                if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
                    too_long.append(int(error.get("n_prompt_tokens") or 2 * self._context_tokens))
                    return True
                return on_chunk(chunk)
            except BaseException as error:
                failures.append(error)
                return True

        try:
            server.handle_chat_completions(body, take)
        except Exception as error:
            failures.append(error)
        for failure in failures:
            if isinstance(failure, StageError):
                raise failure
            raise StageError("llm", f"llama.cpp failed: {one_line(failure)}") from failure
        return too_long[0] if too_long else None

    def _plain(self, text: str) -> str:
        """Split what the model would read as its control tokens: a user cannot end a message."""
        if self._control is None:
            return text
        while (split := self._control.sub(_split_token, text)) != text:
            text = split
        return text

    def _loaded(self) -> Any:
        if self._server is None:
            # At least two characters: a token of one cannot be split.
            tokens = [token for token in _control_tokens(self._path) if len(token) > 1]
            if tokens:
                self._control = re.compile("|".join(map(re.escape, tokens)))
            self._template = chat_template(self._path)
            self._server = self._new_server()
        return self._server

    def _new_server(self) -> Any:
        xllamacpp = _import_xllamacpp()
        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.verbosity = -1
        params.n_ctx = self._context_tokens * self._slots
        params.n_parallel = self._slots
        params.n_batch = params.n_ubatch = _BATCH_TOKENS
        params.n_cache_reuse = _REUSED_TOKENS
        params.cpuparams.n_threads = self._decode_threads
        params.cpuparams_batch.n_threads = self._threads
        params.warmup = True
        # Copies of old prompts, 8 GB of them by default.
        params.cache_ram_mib = 0
        params.cache_idle_slots = False
        with _nobody_can_connect(params):
            try:
                return xllamacpp.Server(params)
            except Exception as error:
                raise ModelError(
                    f"{self._path} cannot be loaded: {one_line(error)}; if it is in the model "
                    "store, run `backtalk models get` to check and fetch it again"
                ) from error

    def _unload(self) -> None:
        self._server = None


def _control_tokens(path: Path) -> list[str]:
    try:
        return control_tokens(path)
    except (OSError, ValueError):  # llama.cpp will say what is wrong with the file
        return []


def _split_token(match: re.Match[str]) -> str:
    return f"{match[0][0]} {match[0][1:]}"


def _import_xllamacpp() -> Any:
    """Import it with less busy waiting; libgomp looks at its settings only when it is loaded."""
    chosen = os.environ.get("GOMP_SPINCOUNT")
    has_policy = "OMP_WAIT_POLICY" in os.environ
    if chosen is None and not has_policy:
        os.environ["GOMP_SPINCOUNT"] = _BUSY_ROUNDS
    try:
        import xllamacpp
    except ImportError as error:
        raise ConfigError(
            f"llama needs xllamacpp, which cannot be imported ({one_line(error)}); "
            "run `pip install --force-reinstall xllamacpp`"
        ) from error
    finally:
        if chosen is None and not has_policy:
            os.environ.pop("GOMP_SPINCOUNT", None)
    return xllamacpp


@contextmanager
def _nobody_can_connect(params: Any) -> Iterator[None]:
    """Keep llama.cpp's web server, which cannot be turned off, from being reached.

    It listens on a socket in a private folder that is gone once it runs. Where there are no such
    sockets it listens on a free port of this machine, and answers nobody without a random key.
    """
    params.api_keys = [secrets.token_hex(16)]
    params.ui = False
    params.endpoint_slots = False
    params.n_threads_http = 1
    with tempfile.TemporaryDirectory(prefix="backtalk-") as folder:
        path = str(Path(folder) / "llama.sock")
        # The system allows 107 bytes, 103 on macOS.
        if os.name == "posix" and len(os.fsencode(path)) <= 100:
            params.hostnames = [path]
        yield


def build_llama_llm(
    store: ModelStore,
    *,
    model: str = "smollm2-135m",
    path: str | Path | None = None,
    threads: int = 2,
    context_tokens: int = 2048,
    decode_threads: int | None = None,
    slots: int = 4,
) -> LlamaLlm:
    """The `llama` language model.

    Args:
        store: where `model` is.
        model: a model of the store that holds one GGUF file.
        path: a GGUF file of your own instead.
        threads, context_tokens, decode_threads, slots: see `LlamaLlm`.

    Raises:
        ModelError: the model is not in the store, or there is no such file.
        ConfigError: an option makes no sense, or `model` holds no GGUF file.
    """
    if path is not None:
        file = Path(path).expanduser()
        return LlamaLlm(file, threads, context_tokens, "", decode_threads, slots)
    files = sorted(store.require(model).glob("*.gguf"))
    if not files:
        raise ConfigError(f"model {model} holds no GGUF file, so llama cannot use it")
    return LlamaLlm(files[0], threads, context_tokens, model, decode_threads, slots)
