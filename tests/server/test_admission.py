"""Places, and what needs one."""

from __future__ import annotations

import resource

import pytest

from backtalk.errors import CapacityError, ConfigError
from backtalk.realtime.limits import Limits
from backtalk.server.admission import Admission, check_open_files
from backtalk.server.auth import Caller


def test_a_place_is_free_again_once_it_was_left_and_only_once() -> None:
    admission = Admission(Limits(sessions=2))
    first, _ = admission.enter(Caller("a")), admission.enter(Caller("b"))
    with pytest.raises(CapacityError):
        admission.enter(Caller("c"))
    first.leave()
    first.leave()
    assert admission.taken == 1
    admission.enter(Caller("c"))
    with pytest.raises(CapacityError):
        admission.enter(Caller("d"))


def test_one_address_or_key_cannot_take_all_places() -> None:
    admission = Admission(Limits(sessions_per_address=2, sessions_per_token=3))
    admission.enter(Caller("a", "k"))
    seat = admission.enter(Caller("a", "k"))
    with pytest.raises(CapacityError, match="address"):
        admission.enter(Caller("a", "k"))
    admission.enter(Caller("b", "k"))
    with pytest.raises(CapacityError, match="key"):
        admission.enter(Caller("c", "k"))
    seat.leave()
    admission.enter(Caller("c", "k"))


def test_a_session_nobody_listens_to_makes_room_for_one_who_is_here() -> None:
    waiting = [Admission(Limits()).enter(Caller("x"))]

    def make_room() -> bool:
        if not waiting:
            return False
        waiting.pop().leave()
        return True

    admission = Admission(Limits(sessions=1), make_room)
    waiting[0] = admission.enter(Caller("a"))
    admission.enter(Caller("b"))
    with pytest.raises(CapacityError):
        admission.enter(Caller("c"))


def test_more_sessions_than_open_files_are_refused_at_start() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        check_open_files(20)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 20 * 4 + 256
        if hard != resource.RLIM_INFINITY:
            with pytest.raises(ConfigError, match="ulimit"):
                check_open_files(hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
