"""Records a step's kernels once and replays them: on a GPU most of a small step is launching them.

Only what is static may be recorded: the tensors that a step reads and writes are the same ones
every time, and nothing in it asks the device for a value. On anything but CUDA, or switched off, a
step is simply called.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

WARM_UP_CALLS = 3


class CudaGraphs:
    """The recorded steps of one state.

    Args:
        device: where the step runs.
        enabled: the off switch.
    """

    def __init__(self, device: torch.device, *, enabled: bool = True) -> None:
        self._is_on = enabled and device.type == "cuda"
        self._recorded: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def run(self, key: Hashable, step: Callable[[], Tensor], active: Tensor) -> Tensor:
        """Make a step, recorded on its first use.

        Args:
            key: of all that shapes the step (sizes, depths); one recording each.
            step: works on tensors that stay where they are.
            active: bool [slots], read by the step. It is all False while the step is tried out
                before it is recorded, so that trying leaves the state as it was.
        Returns:
            What the step returned, valid until the next run of that key.
        """
        if not self._is_on:
            return step()
        if key not in self._recorded:
            self._recorded[key] = _record(step, active)
        graph, output = self._recorded[key]
        graph.replay()
        return output


def _record(step: Callable[[], Tensor], active: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    wanted = active.clone()
    active.zero_()
    aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP_CALLS):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    active.copy_(wanted)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = step()
    return graph, output
