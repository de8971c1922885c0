"""What a frame of a codec costs, one stream, one thread, beside other implementations in one run.

Contestants take turns in blocks of frames, in an order that is reversed every round, so that a busy
moment of the machine hits all alike and each has its weights as near as its own use keeps them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.latency.percentiles import percentiles

DIRECTIONS = ("encode", "decode")


@dataclass
class Contestant:
    """One implementation with one running stream.

    Attributes:
        name: of the implementation.
        encode: one frame, float32 [frame_size], to its codes.
        decode: one frame's codes, int64 [codebooks], to its sound.
        read_bytes: by direction, weights that one frame reads; empty if not known.
        wall_ms, cpu_ms: by direction, every frame that counted.
    """

    name: str
    encode: Callable[[np.ndarray], Any]
    decode: Callable[[np.ndarray], Any]
    read_bytes: dict[str, int] = field(default_factory=dict)
    wall_ms: dict[str, list[float]] = field(default_factory=lambda: {d: [] for d in DIRECTIONS})
    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: {d: [] for d in DIRECTIONS})

    def as_dict(self) -> dict[str, Any]:
        """Percentiles, and the rate at which weights were read, for JSON."""
        found: dict[str, Any] = {}
        for direction in DIRECTIONS:
            wall, cpu = percentiles(self.wall_ms[direction]), percentiles(self.cpu_ms[direction])
            assert wall is not None
            assert cpu is not None
            found[direction] = {"wall_ms": wall.as_dict(2), "cpu_ms": cpu.as_dict(2)}
            if direction in self.read_bytes:
                read = self.read_bytes[direction]
                found[direction]["read_mb"] = round(read / 1e6, 1)
                found[direction]["gb_per_s"] = round(read / wall.p50 / 1e6, 1)
        return found


def our_contestant(name: str, model: MimiModel, num_codebooks: int) -> Contestant:
    """Our Mimi as a contestant."""
    encoder, decoder = model.encoder, model.decoder
    with torch.inference_mode():
        encoding, decoding = encoder.alloc(1), decoder.alloc(1)
    active = torch.ones(1, dtype=torch.bool)

    @torch.inference_mode()
    def encode(pcm: np.ndarray) -> Any:
        return encoder.step(encoding, torch.from_numpy(pcm)[None], active, num_codebooks)

    @torch.inference_mode()
    def decode(codes: np.ndarray) -> Any:
        return decoder.step(decoding, torch.from_numpy(codes)[None, :, None], active)

    centroids = num_codebooks * model.config.cardinality * model.config.codebook_dim * 4
    return Contestant(
        name,
        encode,
        decode,
        {"encode": _weight_bytes(encoder) + centroids, "decode": _weight_bytes(decoder)},
    )


def _weight_bytes(half: torch.nn.Module) -> int:
    quantizer = {id(t) for t in half.get_submodule("quantizer").state_dict(keep_vars=True).values()}
    tensors = half.state_dict(keep_vars=True).values()
    return sum(tensor.nbytes for tensor in tensors if id(tensor) not in quantizer)


def measure_codecs(
    contestants: Sequence[Contestant],
    num_codebooks: int,
    *,
    rounds: int = 8,
    block_frames: int = 12,
    dropped_frames: int = 2,
    warm_up_frames: int = 130,
    told: Callable[[str], None] = lambda line: None,
) -> None:
    """Fill in every contestant's times.

    Args:
        contestants: who takes part.
        num_codebooks: codes per frame.
        rounds: how often each has a turn.
        block_frames: frames per turn and direction.
        dropped_frames: of those, how many at the beginning do not count.
        warm_up_frames: before the first round; 125 fill the transformers' window.
        told: what goes on, in words.
    """
    config = MimiConfig()
    random = np.random.default_rng(0)
    pcm = (0.1 * random.standard_normal((block_frames, config.frame_size))).astype(np.float32)
    codes = random.integers(0, config.cardinality, (block_frames, num_codebooks))
    inputs: dict[str, np.ndarray] = {"encode": pcm, "decode": codes}
    for contestant in contestants:
        told(f"warming up {contestant.name}")
        for i in range(warm_up_frames):
            contestant.encode(pcm[i % block_frames])
            contestant.decode(codes[i % block_frames])
    for turn in range(rounds):
        told(f"round {turn + 1} of {rounds}")
        for contestant in contestants[:: 1 if turn % 2 == 0 else -1]:
            for direction in DIRECTIONS:
                _take_turn(contestant, direction, inputs[direction], dropped_frames)


def _take_turn(
    contestant: Contestant, direction: str, inputs: np.ndarray, dropped_frames: int
) -> None:
    step = contestant.encode if direction == "encode" else contestant.decode
    for i, x in enumerate(inputs):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        step(x)
        if i >= dropped_frames:
            contestant.wall_ms[direction].append(1e3 * (time.perf_counter() - wall_s))
            contestant.cpu_ms[direction].append(1e3 * (time.process_time() - cpu_s))


def read_gb_per_s(size_mb: int = 256, repeats: int = 9) -> float:
    """How fast one thread reads memory that no cache holds: the median of summing an array."""
    block = torch.ones(size_mb * 250_000)
    times_s = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        block.sum()
        times_s.append(time.perf_counter() - began_s)
    return block.nbytes / sorted(times_s)[repeats // 2] / 1e9
