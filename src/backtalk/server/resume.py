"""Sessions by id, and the tokens with which clients whose socket broke come back to theirs."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass

from backtalk.realtime.limits import Limits
from backtalk.server.closing import POLICY, Closing, new_event_id
from backtalk.server.event_log import EventLog
from backtalk.server.served_session import ServedSession


@dataclass(slots=True)
class _Tokens:
    """A session's tokens, by digest.

    The one that was used to come back stays good until the client has received its successor:
    a socket that breaks in between would otherwise lock it out.
    """

    current: bytes | None = None
    next: bytes | None = None
    next_position: int = 0


class SessionRegistry:
    """All sessions of a server, attached to a socket or waiting for their client."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sessions: dict[str, ServedSession] = {}
        self._tokens: dict[str, _Tokens] = {}
        self._by_token: dict[bytes, ServedSession] = {}
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def sessions(self) -> list[ServedSession]:
        """All sessions, oldest first."""
        return list(self._sessions.values())

    @property
    def waiting(self) -> int:
        """How many wait for their client."""
        return len(self._waiting)

    def add(self, served: ServedSession) -> None:
        """Keep a new session."""
        self._sessions[served.id] = served

    def forget(self, served: ServedSession) -> None:
        """A session is over: its tokens are worth nothing from now on."""
        self._sessions.pop(served.id, None)
        self._stop_waiting(served)
        tokens = self._tokens.pop(served.id, None)
        for token in (tokens.current, tokens.next) if tokens is not None else ():
            if token is not None:
                self._by_token.pop(token, None)

    def offer_token(self, served: ServedSession) -> None:
        """Tell the client with what it can come back, if it wants to know and does not yet."""
        if not served.wants_resume or served.id in self._tokens:
            return
        served.log.kept = EventLog.KEPT
        self._tokens[served.id] = _Tokens()
        self._new_token(served)

    def take_back(self, token: str, last_event_id: str | None) -> ServedSession:
        """The session behind a token, its log rewound, a new token on its way to the client.

        Whoever was attached to it is closed: the newer connection wins.

        Raises:
            Closing: unknown, used or expired token.
        """
        digest = _digest(token)
        served = self._by_token.get(digest)
        if served is not None:
            self._retire_old_token(served)
            served = self._by_token.get(digest)
        if served is None or served.is_over:
            raise Closing(
                POLICY, "resume_token_invalid", "this resume token is unknown, used or expired"
            )
        tokens = self._tokens[served.id]
        if tokens.next is not None:
            # The other of two living tokens was never received, or was superseded by its use.
            unused = tokens.current if digest == tokens.next else tokens.next
            if unused is not None:
                self._by_token.pop(unused, None)
        tokens.current, tokens.next = digest, None
        self._stop_waiting(served)
        if served.close_now is not None:
            served.close_now(
                Closing(
                    POLICY,
                    "session_taken_over",
                    "another connection has resumed this session",
                    ends_session=False,
                )
            )
        served.log.rewind(last_event_id)
        self._new_token(served)
        return served

    def wait_for_client(self, served: ServedSession) -> bool:
        """Keep a session whose socket broke for a while.

        Returns:
            False if its client could not come back, so that the caller has to end it.
        """
        if served.is_over or served.id not in self._tokens:
            return False
        self._stop_waiting(served)
        self._waiting[served.id] = asyncio.get_running_loop().call_later(
            self._limits.resume_s, self._end, served, "abandoned"
        )
        return True

    def end_longest_waiting(self) -> bool:
        """Free the place of the session that has waited longest; False if none waits."""
        if not self._waiting:
            return False
        self._end(self._sessions[next(iter(self._waiting))], "evicted")
        return True

    async def close(self) -> None:
        """End all sessions."""
        await asyncio.gather(*(served.end("server_stopped") for served in self.sessions))
        await asyncio.gather(*self._ending)

    def _end(self, served: ServedSession, result: str) -> None:
        # Its place is free at once, its models when they have been told.
        self._stop_waiting(served)
        served.seat.leave()
        task = asyncio.create_task(served.end(result))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _new_token(self, served: ServedSession) -> None:
        token = secrets.token_urlsafe(32)
        tokens = self._tokens[served.id]
        tokens.next = _digest(token)
        self._by_token[tokens.next] = served
        tokens.next_position = served.say(
            {
                "type": "backtalk.session.resume_token",
                "event_id": new_event_id(),
                "token": token,
                "expires_in_s": round(self._limits.resume_s),
            }
        )

    def _retire_old_token(self, served: ServedSession) -> None:
        tokens = self._tokens[served.id]
        is_received = served.log.acknowledged > tokens.next_position
        if tokens.current is not None and tokens.next is not None and is_received:
            self._by_token.pop(tokens.current, None)
            tokens.current, tokens.next = tokens.next, None

    def _stop_waiting(self, served: ServedSession) -> None:
        timer = self._waiting.pop(served.id, None)
        if timer is not None:
            timer.cancel()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
