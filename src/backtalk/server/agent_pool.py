"""The systems this server has loaded, by the model ids that clients ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError, CapacityError
from backtalk.stream.clock import now_s
from backtalk.systems import Agent, FrameAgent

SELF_TEST_EVERY_S = 10.0
SELF_TEST_LIMIT_S = 5.0
SELF_TEST_MS = 200
ALIASES = ("gpt-",)
"""Beginnings of model names that hosted services use; clients change nothing but the address."""


class ModelNotFoundError(BacktalkError):
    """No loaded system goes by this name."""


class AgentPool:
    """Loaded systems.

    Args:
        agents: by model id; the first is the default.
    """

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        assert agents
        self._agents = dict(agents)
        self._tested_at_s: float | None = None
        self._testing = asyncio.Lock()
        self._warm = asyncio.Event()
        self._failure: Exception | None = None

    @property
    def is_warm(self) -> bool:
        """Whether all of them can answer at full speed."""
        return self._warm.is_set() and self._failure is None

    async def until_warm(self) -> None:
        """Wait for that.

        Raises:
            BacktalkError: a system cannot be made ready.
        """
        await self._warm.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def default(self) -> str:
        """The model id that is meant by names of other services' models."""
        return next(iter(self._agents))

    def find(self, model: str | None) -> tuple[str, Agent]:
        """The system for a requested model, and the id under which it is known here.

        Raises:
            ModelNotFoundError: no such system.
        """
        name = str(model or self.default)  # a session object from outside may hold anything
        if name not in self._agents and name.startswith(ALIASES):
            name = self.default
        if name not in self._agents:
            known = ", ".join(self._agents)
            raise ModelNotFoundError(f"there is no model {name[:80]!r}; this server has {known}")
        return name, self._agents[name]

    def describe(self) -> list[dict[str, Any]]:
        """The systems as entries of `GET /v1/models`."""
        return [
            {
                "id": model,
                "object": "model",
                "created": 0,
                "owned_by": "backtalk",
                "kind": "converter" if isinstance(agent, FrameAgent) else "responder",
                "backtalk": agent.details,
            }
            for model, agent in self._agents.items()
        ]

    async def warm_up(self) -> None:
        """Make every system ready and prove it; `until_warm` tells how that went."""
        try:
            for agent in self._agents.values():
                await agent.warm_up()
            await self._self_test()
        except Exception as error:
            self._failure = error
        self._warm.set()

    async def is_ready(self) -> bool:
        """Whether the systems answer, tried now unless that was done a moment ago."""
        if not self.is_warm:
            return False
        async with self._testing:
            tested_at_s = self._tested_at_s
            if tested_at_s is None or now_s() - tested_at_s >= SELF_TEST_EVERY_S:
                try:
                    async with asyncio.timeout(SELF_TEST_LIMIT_S):
                        await self._self_test()
                except (BacktalkError, TimeoutError):
                    self._tested_at_s = None
                    return False
        return True

    async def close(self) -> None:
        """Free all models."""
        for agent in self._agents.values():
            await agent.close()

    async def _self_test(self) -> None:
        """Let every system hear a little silence."""
        for agent in self._agents.values():
            try:
                session = agent.open_session()
            except CapacityError:
                continue  # all of its slots are at work, which is proof enough
            try:
                samples = SELF_TEST_MS * session.sample_rate_in // 1000
                await session.feed(np.zeros(samples, np.float32))
            finally:
                await session.close()
        self._tested_at_s = now_s()
