"""Who gets a place: slots are fixed at start, and there is no waiting room."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable

from backtalk.errors import CapacityError, ConfigError
from backtalk.realtime.limits import Limits
from backtalk.server.auth import Caller

FILES_PER_SESSION = 4
FILES_OF_SERVER = 256


class Seat:
    """One session's place; `leave` gives it back."""

    def __init__(self, admission: Admission, caller: Caller) -> None:
        self._admission, self._caller = admission, caller
        self._is_taken = True

    def leave(self) -> None:
        """Give the place back. Safe to call twice."""
        if self._is_taken:
            self._is_taken = False
            self._admission.release(self._caller)


class Admission:
    """Counts sessions: all of them, those of one address, those of one key.

    Args:
        make_room: ends a session that nobody listens to, so that one who is here gets its place;
            returns whether there was one.
    """

    def __init__(self, limits: Limits, make_room: Callable[[], bool] = lambda: False) -> None:
        self._limits = limits
        self._make_room = make_room
        self._by_address: Counter[str] = Counter()
        self._by_key: Counter[str] = Counter()
        self.taken = 0

    def enter(self, caller: Caller) -> Seat:
        """Take a place, at once or not at all.

        Raises:
            CapacityError: the server is full, or this client has as many sessions as it may.
        """
        limits = self._limits
        if self._by_address[caller.address] >= limits.sessions_per_address:
            raise CapacityError(f"this address has {limits.sessions_per_address} sessions already")
        if caller.key_id and self._by_key[caller.key_id] >= limits.sessions_per_token:
            raise CapacityError(f"this key has {limits.sessions_per_token} sessions already")
        if self.taken >= limits.sessions and not self._make_room():
            raise CapacityError(f"all {limits.sessions} sessions are taken")
        self.taken += 1
        self._by_address[caller.address] += 1
        self._by_key[caller.key_id] += 1
        return Seat(self, caller)

    def release(self, caller: Caller) -> None:
        """A session is over (called by its seat)."""
        self.taken -= 1
        for counts, key in ((self._by_address, caller.address), (self._by_key, caller.key_id)):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]


def check_open_files(sessions: int) -> None:
    """Raise this process's limit on open files to what the sessions need.

    Raises:
        ConfigError: the system does not allow that many.
    """
    needed = FILES_PER_SESSION * sessions + FILES_OF_SERVER
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"{sessions} sessions need {needed} open files and this system allows {hard}; "
            f"raise the limit (ulimit -Hn {needed}) or use fewer --sessions"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
