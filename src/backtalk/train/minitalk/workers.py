"""Runs one function on many inputs, each call in a fresh process, a few at a time.

The standard library's pools keep their processes. Here a fresh one is the point: a voice with
hidden state then says the same whatever was said before. A process that dies, even by the system's
hand for want of memory, is noticed.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from backtalk.errors import BacktalkError

R = TypeVar("R")


class WorkerDiedError(BacktalkError):
    """A process ended without a result."""


def run_each(
    work: Callable[..., R], inputs: Sequence[tuple[Any, ...]], jobs: int
) -> Iterator[tuple[int, R]]:
    """Call `work(*arguments)` for each of `inputs`, at most `jobs` at a time.

    Leaving the iterator early, by an exception or by closing it, ends the processes that run.

    Args:
        work: a function of a module, so that a fresh process can find it.
    Yields:
        The number of the input and its result, in the order in which they finish.
    Raises:
        WorkerDiedError: a process was killed.
        BacktalkError, OSError: raised by `work`; the first keeps its text, not its class.
        RuntimeError: anything else `work` raised; its traceback is the text.
    """
    context = get_context("spawn")
    waiting = list(enumerate(inputs))[::-1]
    running: dict[Connection, tuple[int, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, arguments = waiting.pop()
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_run, args=(there, work, arguments), daemon=True)
                process.start()
                there.close()
                running[here] = (number, process)
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                number, process = running.pop(ready)
                with ready:
                    yield number, _result(ready, process)
    finally:
        for connection, (_, process) in running.items():
            process.terminate()
            process.join()
            connection.close()


def _run(connection: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C is for the parent, which then ends this process; a killed parent ends it, too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outcome: tuple[Any, Exception | None]
    try:
        outcome = (work(*arguments), None)
    except BacktalkError as error:
        outcome = (None, BacktalkError(str(error)))
    except OSError as error:
        outcome = (None, error)
    except Exception:
        outcome = (None, RuntimeError(traceback.format_exc()))
    connection.send(outcome)
    connection.close()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _result(connection: Connection, process: SpawnProcess) -> Any:
    try:
        result, error = connection.recv()
    except EOFError:
        process.join()
        raise WorkerDiedError(
            f"a worker process ended with code {process.exitcode} before its work was done; "
            "if memory is short, try fewer --jobs"
        ) from None
    process.join()
    if error is not None:
        raise error
    return result
