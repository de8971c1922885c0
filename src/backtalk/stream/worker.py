"""One thread that owns one model: blocking calls in, awaitable results out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from backtalk.stream.cancel import CancelToken

T = TypeVar("T")


class ModelWorker:
    """Runs a model's calls one at a time on a thread of its own, first come first served.

    Args:
        name: shown in thread listings.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"backtalk-{name}")

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run `call(*args)` on the thread.

        A cancelled caller stops waiting at once; a call that has begun runs to its end, unheard.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    async def stream(
        self, make: Callable[[CancelToken], Iterator[T]], cancel: CancelToken
    ) -> AsyncGenerator[T, None]:
        """Iterate a blocking generator, one item per visit to the thread.

        Nothing is computed ahead of the caller, so a slow consumer holds the producer back, and
        between items the thread is free for others. Cancelling ends the iteration early.
        """
        iterator = make(cancel)
        end = object()
        while not cancel.is_cancelled:
            item = await self.run(next, iterator, end)
            if item is end:
                return
            yield cast(T, item)

    def close(self) -> None:
        """Let the thread end once its present call is over. Safe to call twice."""
        self._executor.shutdown(wait=False, cancel_futures=True)
