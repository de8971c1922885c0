"""How async tests run: on virtual time, and none may leave a task behind."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from backtalk.stream.clock import VirtualTimeLoop


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests; those marked `realtime` wait for real, all others skip their waits."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    is_realtime = pyfuncitem.get_closest_marker("realtime") is not None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run_and_look_for_leaks() -> None:
        await pyfuncitem.obj(**arguments)
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"the test left tasks running: {left}"

    factory = asyncio.new_event_loop if is_realtime else VirtualTimeLoop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run_and_look_for_leaks())
    return True
