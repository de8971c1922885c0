"""What was heard, as the session sees it."""

from __future__ import annotations

from backtalk.session.playout import Playout


def test_without_reports_playing_is_taken_to_start_at_once_and_go_on() -> None:
    playout = Playout(1000)
    playout.sent(500, at_s=10.0)
    playout.sent(500, at_s=10.1)
    assert playout.heard_samples(10.0) == 0
    assert playout.heard_samples(10.25) == 250
    assert playout.heard_samples(10.75) == 750
    assert playout.heard_samples(99.0) == 1000
    assert playout.unplayed_s(10.75) == 0.25
    assert playout.underruns == 0


def test_a_piece_that_comes_after_all_was_played_is_an_underrun() -> None:
    playout = Playout(1000)
    playout.sent(100, at_s=0.0)
    playout.sent(100, at_s=0.3)
    assert playout.underruns == 1
    assert playout.heard_samples(0.35) == 150


def test_reports_are_believed_and_run_on_between_each_other() -> None:
    playout = Playout(1000)
    playout.sent(1000, at_s=0.0)
    playout.report(0, at_s=0.3)
    assert playout.heard_samples(0.3) == 0
    assert playout.heard_samples(0.4) == 100
    playout.report(300, at_s=0.6)
    assert playout.heard_samples(0.6) == 300


def test_reports_backwards_or_beyond_what_was_sent_are_cut() -> None:
    playout = Playout(1000)
    playout.sent(500, at_s=0.0)
    playout.report(400, at_s=0.5)
    playout.report(100, at_s=0.5)
    assert playout.heard_samples(0.5) == 400
    playout.report(10_000, at_s=0.6)
    assert playout.heard_samples(5.0) == 500


def test_rewinding_forgets_the_unheard_and_going_on_is_no_underrun() -> None:
    playout = Playout(1000)
    playout.sent(1000, at_s=0.0)
    assert playout.rewind(0.4) == 400
    assert playout.heard_samples(5.0) == 400
    playout.resumed(2.0)
    playout.sent(600, at_s=2.0)
    assert playout.underruns == 0
    assert playout.heard_samples(2.1) == 500
