"""The time of one CSM frame by depth, and how much of the machine's memory bandwidth it uses."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from backtalk.csm.context import span_of
from backtalk.csm.model import CsmModel
from backtalk.csm.tokenizer import StandInTokenizer
from backtalk.nn.cuda_graph import CudaGraphs

FRAME_MS = 80.0


@dataclass(frozen=True, slots=True)
class FrameTime:
    """What frames of one depth took.

    Attributes:
        depth: codes per frame.
        frame_ms: each frame's time, in order.
        read_bytes: weights read for a frame.
    """

    depth: int
    frame_ms: list[float]
    read_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        median_ms = statistics.median(self.frame_ms)
        return {
            "depth": self.depth,
            "frame_ms_p50": round(median_ms, 2),
            "frame_ms_min": round(min(self.frame_ms), 2),
            "frame_ms_max": round(max(self.frame_ms), 2),
            "n": len(self.frame_ms),
            "rtf": round(median_ms / FRAME_MS, 3),
            "read_gb": round(self.read_bytes / 1e9, 3),
            "gb_s": round(self.read_bytes / 1e6 / median_ms, 2),
        }


class FrameTimer:
    """Makes frames at any depth, of several conversations in one step, and times them.

    Args:
        model: with any weights.
        slots: conversations, each a row of every step.
        graphs: whether CUDA graphs are used, where there is CUDA.
    """

    def __init__(self, model: CsmModel, slots: int = 1, *, graphs: bool = True) -> None:
        self._model = model
        with torch.inference_mode():
            self._state = model.alloc(slots)
            self._active = torch.ones(slots, dtype=torch.bool, device=model.device)
            ids = StandInTokenizer(model.config.text_vocab).encode("[0]Hello there.")
            x = model.embed_text(torch.tensor(ids, device=model.device)).expand(slots, -1, -1)
            self._length = len(ids) - 1
            model.take(self._state, x[:, :-1], self._active, span_of(model, self._length))
            self._state.pending.copy_(x[:, -1:])
            self._state.temperature.fill_(0.9)
        self._graphs = CudaGraphs(model.device, enabled=graphs)

    @torch.inference_mode()
    def frame_ms(self, depth: int) -> float:
        """Make one frame of every conversation and wait for the codes."""
        model, state, active = self._model, self._state, self._active
        self._length += 1
        span = span_of(model, self._length)
        began_s = time.perf_counter()
        codes = self._graphs.run(
            (depth, span), lambda: model.step(state, active, depth, 50, None, span), active
        )
        codes.cpu()
        return 1000 * (time.perf_counter() - began_s)

    def measure(self, depths: Sequence[int], rounds: int) -> list[FrameTime]:
        """A frame of every depth in turn, `rounds` times, after one of each that does not count."""
        took: dict[int, list[float]] = {depth: [] for depth in depths}
        for at in range(rounds + 1):
            for depth in depths:
                frame_ms = self.frame_ms(depth)
                if at:
                    took[depth].append(frame_ms)
        return [FrameTime(depth, took[depth], read_bytes(self._model, depth)) for depth in depths]


def read_bytes(model: CsmModel, depth: int) -> int:
    """Bytes of weights that a frame of `depth` codes reads; keys and values not counted."""
    once = _bytes(model.backbone) + _bytes(model.first_head) + _bytes(model.projection)
    per_code = _bytes(model.depth)
    heads = sum(_bytes(head) for head in list(model.later_heads)[: depth - 1])
    return once + (depth - 1) * per_code + heads


def _bytes(module: torch.nn.Module) -> int:
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def memory_gb_s(device: str = "cpu", megabytes: int = 512) -> float:
    """What this machine reads per second, median of nine sums over memory no cache holds."""
    block = torch.ones(megabytes * 1_000_000 // 4, device=device)
    took_s = []
    for _ in range(9):
        began_s = time.perf_counter()
        block.sum().cpu()
        took_s.append(time.perf_counter() - began_s)
    return megabytes / 1000 / statistics.median(took_s)
