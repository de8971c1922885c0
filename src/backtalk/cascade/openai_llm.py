"""A language model behind any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from backtalk.cascade.chat_json import ChatDeltas, one_line, request_json
from backtalk.cascade.protocols import LlmSettings, ToolRequest
from backtalk.cascade.sse import SseParser
from backtalk.errors import ConfigError, StageError
from backtalk.session.memory import Message
from backtalk.stream.cancel import CancelToken
from backtalk.stream.clock import waiting_on_outside

if TYPE_CHECKING:
    import httpx

    from backtalk.models.store import ModelStore

T = TypeVar("T")

# How long a cancelled request may go on, as a `CancelToken` has to be looked at.
_POLL_S = 0.02
# A server that ignores `max_tokens` is not read for ever.
_MAX_CHARS_PER_TOKEN = 20
_KEEP_ALIVE_S = 120.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ADVICE = {
    400: "the request was not understood; check the model's name and options",
    401: "the key was refused; set OPENAI_API_KEY or the api_key option",
    403: "the key may not use this model; check the model's name and the account",
    404: "no such model or path; check base_url (it often ends in /v1) and the model's name",
    429: "too many requests or no credit left; wait, or check the account",
}


@dataclass(frozen=True, slots=True)
class OpenAiDeadlines:
    """How long to wait for what, and how often to try again before anything has come.

    Attributes:
        connect_timeout_s: for the connection.
        first_token_timeout_s: from the request to the first text, all tries together.
        stall_timeout_s: from one piece of the reply to the next.
        max_retries: further tries after a refused connection or a busy or failing server.
        retry_pause_s: before the first of them.
        retry_pause_growth: factor from one pause to the next.
    """

    connect_timeout_s: float = 2.0
    first_token_timeout_s: float = 5.0
    stall_timeout_s: float = 3.0
    max_retries: int = 2
    retry_pause_s: float = 0.05
    retry_pause_growth: float = 1.5

    def __post_init__(self) -> None:
        waits = (self.connect_timeout_s, self.first_token_timeout_s, self.stall_timeout_s)
        if min(waits) <= 0 or self.max_retries < 0 or self.retry_pause_s < 0:
            raise ConfigError(f"openai: a time limit must be more than 0 s, got {self}")


@dataclass(frozen=True, slots=True)
class _Deadline:
    """A time on the loop's clock, and what to say of a server that misses it."""

    time_s: float
    missed: str


class _CancelledByToken(Exception):
    """The reply is no longer wanted."""


class _TryAgain(Exception):
    """Failed before the first byte, in a way that may pass."""

    def __init__(self, error: StageError) -> None:
        super().__init__(str(error))
        self.error = error


class OpenAiLlm:
    """Streams replies from `{base_url}/chat/completions`.

    Args:
        model: name the endpoint knows it by.
        base_url: of the endpoint, with its `/v1`.
        api_key: sent as bearer token; None takes OPENAI_API_KEY from the environment, if set.
        deadlines: see `OpenAiDeadlines`.
        extra: further fields of every request, such as `{"top_p": 0.9}`.

    Raises:
        ConfigError: `base_url` is no http address, or no model is named.
    """

    def __init__(
        self,
        model: str,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        deadlines: OpenAiDeadlines | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._url, self._endpoint, host = _checked_url(base_url)
        if not model:
            raise ConfigError("openai: no model is named; set the model option")
        self.description = f"openai {model} at {self._endpoint}"
        self._model = model
        self._key = api_key if api_key is not None else os.environ.get("OPENAI_API_KEY", "")
        if any(ord(character) < 33 or ord(character) > 126 for character in self._key):
            raise ConfigError("openai: the api_key holds a space or a character no key can have")
        self._deadlines = deadlines or OpenAiDeadlines()
        self._extra = extra or {}
        # A proxy named in the environment is not meant for this machine's own servers.
        self._may_use_proxy = host not in _LOOPBACK
        self._client: httpx.AsyncClient | None = None
        self._client_loop: asyncio.AbstractEventLoop | None = None

    async def reply(
        self, messages: Sequence[Message], settings: LlmSettings, cancel: CancelToken
    ) -> AsyncGenerator[str | ToolRequest, None]:
        """Stream a reply; see `protocols.Llm.reply`.

        Raises:
            StageError: refused, too slow, malformed or cut short. What came before has been
                yielded.
        """
        body = {"model": self._model, **request_json(messages, settings), **self._extra}
        loop = asyncio.get_running_loop()
        first_by = _Deadline(
            loop.time() + self._deadlines.first_token_timeout_s,
            f"sent no text within {self._deadlines.first_token_timeout_s:g} s",
        )
        try:
            response, received, stream = await self._open(body, first_by, cancel)
        except _CancelledByToken:
            return
        deltas, parser, has_begun, chars = ChatDeltas(), SseParser(), False, 0
        try:
            while received:
                for data in self._events(parser, received):
                    if data == "[DONE]":
                        deltas.is_finished = True
                        break
                    if text := deltas.read(self._decoded(data)):
                        has_begun, chars = True, chars + len(text)
                        yield text
                if deltas.is_finished or chars > _MAX_CHARS_PER_TOKEN * settings.max_tokens:
                    break
                received = await self._more(stream, None if has_begun else first_by, cancel)
            else:
                raise self._failure("ended the reply in the middle; ask again")
            for request in deltas.tool_requests():
                yield request
            await self._drain(stream, cancel)
        except _CancelledByToken:
            return
        finally:
            await stream.aclose()
            await response.aclose()

    async def end_probability(self, messages: Sequence[Message]) -> float | None:
        """Not known: endpoints do not show what they expect inside a user's message."""
        return None

    async def warm_up(self, messages: Sequence[Message]) -> None:
        """Connect, and let the endpoint see the start of the conversation: one token is asked for.

        Raises:
            StageError: the endpoint cannot be used; better known now than in the first turn.
        """
        question = [*messages, Message("user", "Hello")]
        async for _ in self.reply(question, LlmSettings(max_tokens=1), CancelToken()):
            pass

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        client, self._client = self._client, None
        if client is not None and self._client_loop is asyncio.get_running_loop():
            await client.aclose()

    async def _open(
        self, body: dict[str, Any], first_by: _Deadline, cancel: CancelToken
    ) -> tuple[httpx.Response, bytes, AsyncGenerator[bytes, None]]:
        """Send the request until bytes of a reply come back."""
        pause_s = self._deadlines.retry_pause_s
        for tries_left in range(self._deadlines.max_retries, -1, -1):
            try:
                return await self._try_once(body, first_by, cancel)
            except _TryAgain as failed:
                if not tries_left:
                    raise failed.error from failed.__cause__
            await asyncio.sleep(pause_s)
            pause_s *= self._deadlines.retry_pause_growth
            if cancel.is_cancelled:
                raise _CancelledByToken
        raise AssertionError("unreachable")

    async def _try_once(
        self, body: dict[str, Any], first_by: _Deadline, cancel: CancelToken
    ) -> tuple[httpx.Response, bytes, AsyncGenerator[bytes, None]]:
        import httpx

        client = self._connected_client()
        request = client.build_request("POST", self._url, json=body)
        try:
            response = await self._wait(client.send(request, stream=True), first_by, cancel)
        except httpx.ConnectTimeout as error:
            waited_s = self._deadlines.connect_timeout_s
            raise self._failure(f"could not be reached within {waited_s:g} s") from error
        except httpx.ConnectError as error:
            raise _TryAgain(self._failure("refuses connections; is the server running?")) from error
        except httpx.HTTPError as error:
            raise _TryAgain(self._failure(f"hung up: {type(error).__name__}")) from error
        try:
            if response.status_code != 200:
                raise await self._refusal(response, first_by, cancel)
            stream = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
            return response, await self._first_bytes(stream, first_by, cancel), stream
        except BaseException:
            await response.aclose()
            raise

    async def _first_bytes(
        self, stream: AsyncGenerator[bytes, None], first_by: _Deadline, cancel: CancelToken
    ) -> bytes:
        import httpx

        try:
            received = await self._wait(_next(stream), first_by, cancel)
        except httpx.HTTPError as error:
            raise _TryAgain(self._failure(f"hung up: {type(error).__name__}")) from error
        if not received:
            raise _TryAgain(self._failure("sent an empty reply"))
        return received

    async def _more(
        self, stream: AsyncGenerator[bytes, None], first_by: _Deadline | None, cancel: CancelToken
    ) -> bytes:
        """Further bytes of a reply that has begun, empty at its end."""
        import httpx

        stall_s = self._deadlines.stall_timeout_s
        stall_by = _Deadline(
            asyncio.get_running_loop().time() + stall_s, f"stalled for {stall_s:g} s"
        )
        try:
            return await self._wait(_next(stream), first_by or stall_by, cancel)
        except httpx.HTTPError as error:
            raise self._failure(
                f"hung up in the middle of the reply ({type(error).__name__}); ask again"
            ) from error

    async def _drain(self, stream: AsyncGenerator[bytes, None], cancel: CancelToken) -> None:
        """Read the few bytes after the last event, or the connection could not be used again."""
        import httpx

        with contextlib.suppress(httpx.HTTPError, StageError):
            soon = _Deadline(asyncio.get_running_loop().time() + _POLL_S, "")
            await self._wait(_next(stream), soon, cancel)

    async def _refusal(
        self, response: httpx.Response, first_by: _Deadline, cancel: CancelToken
    ) -> Exception:
        status = response.status_code
        advice = _ADVICE.get(status)
        if advice is None:
            advice = "the server failed; try again" if status >= 500 else "the request was refused"
        said = ""
        if status not in (401, 403):  # those may quote the key
            said = await self._error_text(response, first_by, cancel)
        error = self._failure(f"answered {status}: {advice}{said}")
        return _TryAgain(error) if status == 429 or status >= 500 else error

    async def _error_text(
        self, response: httpx.Response, first_by: _Deadline, cancel: CancelToken
    ) -> str:
        try:
            body = await self._wait(_next(response.aiter_bytes(4096)), first_by, cancel)
            said = json.loads(body)["error"]["message"]
        except _CancelledByToken:
            raise
        except Exception:  # whatever it is, it says nothing more about the refusal
            return ""
        said = one_line(said)
        return f" ({said.replace(self._key, '***') if self._key else said})"

    def _events(self, parser: SseParser, received: bytes) -> list[str]:
        try:
            return parser.feed(received)
        except ValueError as error:
            raise self._failure(f"sent no event stream: {error}") from error

    def _decoded(self, data: str) -> Any:
        try:
            return json.loads(data)
        except ValueError as error:
            raise self._failure(f"sent a malformed event: {one_line(data)}") from error

    async def _wait(self, work: Awaitable[T], by: _Deadline, cancel: CancelToken) -> T:
        """Await the network, but neither past a deadline nor once cancelled."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        try:
            with waiting_on_outside():
                while not task.done():
                    if cancel.is_cancelled:
                        raise _CancelledByToken
                    left_s = by.time_s - loop.time()
                    if left_s <= 0:
                        raise self._failure(
                            f"{by.missed}; raise the time limit or use a faster model or server"
                        )
                    await asyncio.wait({task}, timeout=min(_POLL_S, left_s))
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return task.result()

    def _connected_client(self) -> httpx.AsyncClient:
        """One client per event loop: its connections belong to the loop they were made on."""
        import httpx

        loop = asyncio.get_running_loop()
        if self._client is None or self._client_loop is not loop:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            self._client = httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(None, connect=self._deadlines.connect_timeout_s),
                limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_S),
                trust_env=self._may_use_proxy,
            )
            self._client_loop = loop
        return self._client

    def _failure(self, what: str) -> StageError:
        return StageError("llm", f"the language model at {self._endpoint} {what}")


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    async for received in stream:
        if received:
            return received
    return b""


def _checked_url(base_url: str) -> tuple[str, str, str]:
    """The address to post to, the same without credentials to show, and its host."""
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(
            "openai: base_url is not an address; it looks like http://host:port/v1"
        ) from None
    shown_host = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"openai: base_url is {shown!r}, but must look like http://host:port/v1")
    posted = parts._replace(path=parts.path.rstrip("/") + "/chat/completions", fragment="")
    return posted.geturl(), shown, host


def build_openai_llm(
    store: ModelStore | None = None,
    *,
    model: str = "",
    base_url: str = "https://api.openai.com/v1",
    api_key: str | None = None,
    connect_timeout_s: float | None = None,
    first_token_timeout_s: float | None = None,
    stall_timeout_s: float | None = None,
    extra: dict[str, Any] | None = None,
) -> OpenAiLlm:
    """The `openai` language model; see `OpenAiLlm`. Needs nothing of the store.

    Raises:
        ConfigError: no model is named, or an option is wrong.
    """
    limits: dict[str, Any] = {
        "connect_timeout_s": connect_timeout_s,
        "first_token_timeout_s": first_token_timeout_s,
        "stall_timeout_s": stall_timeout_s,
    }
    deadlines = replace(
        OpenAiDeadlines(), **{name: value for name, value in limits.items() if value is not None}
    )
    return OpenAiLlm(model, base_url, api_key, deadlines, extra)
