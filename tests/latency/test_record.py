"""The latency record: stages add up, whatever happened early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.latency.percentiles import percentiles
from backtalk.latency.record import STAGES, CriticalPath, TurnLatency


@given(st.dictionaries(st.sampled_from(STAGES), st.floats(0, 10), min_size=1))
def test_stages_are_never_negative_and_add_up_to_the_last_mark(marks: dict[str, float]) -> None:
    path = CriticalPath()
    for stage, at_s in marks.items():
        path.reach(stage, at_s)
    stages = path.stages_ms(zero_s=1.0)
    assert list(stages) == [s for s in STAGES if s in marks]
    assert all(ms >= 0 for ms in stages.values())
    assert sum(stages.values()) == pytest.approx(1000 * (max(1.0, *marks.values()) - 1.0))


def test_work_done_early_shows_as_nothing_and_its_wait_as_hold() -> None:
    path = CriticalPath()
    for stage, at_s in [("end_of_turn_wait", 5.16), ("asr", 5.10), ("tts_first_audio", 5.30)]:
        path.reach(stage, at_s)
    path.reach("hold", 5.80)
    stages = path.stages_ms(zero_s=5.0)
    assert stages["asr"] == 0
    assert stages["hold"] == pytest.approx(500)


def test_the_first_mark_of_a_stage_counts() -> None:
    path = CriticalPath()
    path.reach("asr", 1.0)
    path.reach("asr", 2.0)
    assert path.stages_ms(0.0) == {"asr": 1000.0}


def test_a_stage_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="not a latency stage"):
        CriticalPath().reach("thinking", 1.0)


def test_rtf_is_compute_over_audio() -> None:
    assert TurnLatency(compute_s=0.5, audio_s=2.0).rtf == 0.25
    assert TurnLatency().rtf is None


def test_percentiles_interpolate_and_say_how_many() -> None:
    stats = percentiles([4.0, 1.0, 3.0, 2.0])
    assert stats is not None
    assert (stats.n, stats.p50, stats.max) == (4, 2.5, 4.0)
    assert percentiles([]) is None
