"""A session with any OpenAI Realtime server, seen as one of our own.

It lets the recorded user of `talk.RecordedConversation` speak to somebody else's server: what is
sent and heard is the protocol's, what comes out are the events of `stream.events`. A turn counts
as measured when its reply has been played to its end, without gaps, from the moment it arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtalk.audio.pcm import pcm_from_int16_bytes, pcm_to_int16_bytes
from backtalk.bench.realtime_client import (
    SAMPLE_RATE,
    ConnectError,
    RealtimeClient,
    ServerEvent,
)
from backtalk.latency.record import STAGES, TurnLatency
from backtalk.session.session import checked_pcm
from backtalk.stream.clock import now_s
from backtalk.stream.events import (
    Event,
    ReplyAudio,
    ReplyInterrupted,
    ReplyText,
    SessionError,
    TurnMeasured,
    UserSpeechStarted,
    UserTranscript,
)

READY_WITHIN_S = 10.0
MEASURED_WITHIN_S = 0.5
"""How long after the end of a reply the server may still say what its stages were."""
_OPTIONAL = "optional_"
"""Event ids of wishes that a server may refuse."""


@dataclass(slots=True)
class _Response:
    """One response of the server.

    Attributes:
        samples: of its sound that have come.
        ends_s: when its last sample has been played.
        measured: the server's own figures, if it gives any.
    """

    turn: int
    samples: int = 0
    ends_s: float = 0.0
    text: str = ""
    is_done: bool = False
    measured: dict[str, Any] = field(default_factory=dict)


class RemoteSession:
    """One connection to a server; made by `connect`. See `session.Session`.

    Attributes:
        stale_pieces: pieces of sound that came after their response was done.
    """

    sample_rate_in = sample_rate_out = SAMPLE_RATE

    def __init__(self, name: str) -> None:
        self.system = name
        self._client: RealtimeClient
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._created = asyncio.Event()
        self._refusal = ""
        self._responses: dict[str, _Response] = {}
        self._turns = 0
        self.stale_pieces = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(
        cls,
        url: str,
        model: str | None,
        token: str | None,
        turn_detection: str | None,
        max_tokens: int | None = None,
    ) -> RemoteSession:
        """Open a session and ask for transcripts and, where there are any, stages.

        Args:
            turn_detection: `server_vad` or `semantic_vad`; None leaves it to the server.
            max_tokens: longest reply; None leaves it to the server.
        Raises:
            ConnectError: no server, or no session.
        """
        session = cls(model or "the server's default")
        session._client = await RealtimeClient.connect(url, session._take, model=model, token=token)
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await session._created.wait()
        except TimeoutError:
            session._refusal = f"it sent no session.created within {READY_WITHIN_S:.0f} s"
        if session._refusal:
            await session._client.close()
            raise ConnectError(f"{url} opened no session: {session._refusal}")
        session._ask({"audio": {"input": {"transcription": {"model": "whisper-1"}}}}, _OPTIONAL)
        session._ask({"include": ["backtalk.latency"]}, _OPTIONAL)
        if max_tokens is not None:
            session._ask({"max_output_tokens": max_tokens}, "")
        if turn_detection is not None:
            session._ask({"audio": {"input": {"turn_detection": {"type": turn_detection}}}}, "")
        return session

    def _ask(self, changes: dict[str, Any], prefix: str) -> None:
        event_id = f"{prefix}event_{'_'.join(changes)}"
        session = {"type": "realtime", **changes}
        self._client.send({"type": "session.update", "event_id": event_id, "session": session})

    async def feed(self, pcm: np.ndarray) -> None:
        """Send what the user says; see `Session.feed`. Nothing more once the server has gone."""
        self._client.append(pcm_to_int16_bytes(checked_pcm(pcm)))

    async def events(self) -> AsyncIterator[Event]:
        """Events in order; see `Session.events`."""
        while (event := await self._events.get()) is not None:
            yield event

    def played(self, turn: int, samples: int) -> None:
        """Not told to the server: a client need not, and most cannot."""

    async def close(self) -> None:
        """Hang up. Safe to call twice."""
        was_open = self._client.is_open
        await self._client.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not was_open:
            reason = self._client.close_reason or "no reason given"
            self._fail(f"the server hung up with {self._client.close_code}: {reason}")
        self._events.put_nowait(None)

    def _fail(self, message: str) -> None:
        self._events.put_nowait(SessionError(now_s(), "system", message))

    def _take(self, event: ServerEvent) -> None:
        data, at_s = event.data, event.at_s
        match event.type:
            case "session.created":
                self._created.set()
            case "error":
                self._take_error(data.get("error") or {})
            case "input_audio_buffer.speech_started":
                sample = int(data.get("audio_start_ms", 0)) * SAMPLE_RATE // 1000
                self._events.put_nowait(UserSpeechStarted(at_s, sample, data.get("item_id", "")))
            case "conversation.item.input_audio_transcription.completed":
                # Some servers transcribe after they have answered, so this may be the turn before.
                turn = max(1, self._turns)
                self._events.put_nowait(UserTranscript(at_s, turn, data["transcript"], True))
            case "response.created":
                self._turns += 1
                self._responses[data["response"]["id"]] = _Response(self._turns)
            case "response.output_audio.delta":
                self._take_audio(event)
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                response = self._responses.get(data["response_id"])
                if response is not None:
                    response.text += data["delta"]
                    self._events.put_nowait(ReplyText(at_s, response.turn, data["delta"]))
            case "backtalk.turn.measured":
                response = self._responses.get(data["response_id"])
                if response is not None:
                    response.measured = data
            case "response.done":
                self._take_done(at_s, data["response"])

    def _take_error(self, error: dict[str, Any]) -> None:
        message = f"{error.get('code')}: {error.get('message')}"
        if not self._created.is_set():
            self._refusal = message
            self._created.set()
        elif not str(error.get("event_id") or "").startswith(_OPTIONAL):
            self._fail(message)

    def _take_audio(self, event: ServerEvent) -> None:
        response = self._responses.get(event.data["response_id"])
        if response is None or response.is_done:
            self.stale_pieces += 1
            return
        pcm = pcm_from_int16_bytes(event.pcm16)
        audio = ReplyAudio(event.at_s, response.turn, response.samples, pcm)
        response.samples += len(pcm)
        response.ends_s = max(response.ends_s, event.at_s) + len(pcm) / SAMPLE_RATE
        self._events.put_nowait(audio)

    def _take_done(self, at_s: float, done: dict[str, Any]) -> None:
        response = self._responses.get(done["id"])
        if response is None:
            return
        response.is_done = True
        if done.get("status") == "failed":
            error = (done.get("status_details") or {}).get("error") or {}
            self._fail(f"the reply failed: {error.get('code')}: {error.get('message')}")
        if done.get("status") == "cancelled":
            unplayed = round(max(0.0, response.ends_s - at_s) * SAMPLE_RATE)
            heard = max(0, response.samples - unplayed)
            is_unheard = heard == 0  # the user had not finished; their turn goes on
            self._events.put_nowait(
                ReplyInterrupted(at_s, response.turn, heard, response.text, is_unheard)
            )
            if is_unheard:
                return
            response.ends_s = at_s
        task = asyncio.create_task(self._report(response))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report(self, response: _Response) -> None:
        """Say that the turn is over once its reply has been played."""
        await asyncio.sleep(max(MEASURED_WITHIN_S, response.ends_s - now_s()))
        self._events.put_nowait(TurnMeasured(now_s(), response.turn, _latency(response.measured)))


def _latency(measured: dict[str, Any]) -> TurnLatency:
    """The server's figures, as far as it gives any that can be trusted to be there."""
    stages = measured.get("stages_ms") or {}
    return TurnLatency(
        {name: float(stages[name]) for name in STAGES if name in stages},
        measured.get("ttfa_ms"),
        underruns=int(measured.get("underruns") or 0),
        barge_in_ms=measured.get("barge_in_ms"),
        # The server gives the quotient only; it is kept by giving it one second of audio.
        compute_s=float(measured.get("rtf") or 0.0),
        audio_s=1.0 if measured.get("rtf") else 0.0,
    )
