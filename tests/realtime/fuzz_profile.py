"""How long the fuzz tests look for trouble: seconds in the suite, minutes on request.

BACKTALK_FUZZ=long pytest --timeout=0 tests/realtime/test_fuzz.py
BACKTALK_FUZZ=long pytest --timeout=0 tests/realtime/test_state_machine.py
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_IS_LONG = os.environ.get("BACKTALK_FUZZ") == "long"
_LONG_FACTOR = 40


def fuzz(examples: int, **options: object) -> settings:
    """Hypothesis settings for a test that tries so many examples in the suite.

    The suite tries the same examples every time, a long run others each time.
    """
    return settings(
        max_examples=examples * (_LONG_FACTOR if _IS_LONG else 1),
        derandomize=not _IS_LONG,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        **options,  # type: ignore[arg-type]
    )
