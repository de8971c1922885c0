"""LLVC against the authors' code, on the same random full-size weights.

Compared are the torch network on a whole recording, the torch network and the ONNX graph in steps
of every chunk factor, and the authors' own streaming loop with both. Needs a clone of
https://github.com/KoeAI/LLVC (commit 1627c5d), and torch.

    python benchmarks/llvc_parity.py --reference LLVC
    python benchmarks/llvc_parity.py --reference LLVC --golden tests/golden/llvc_small.safetensors

The second writes what their code makes of a miniature of the same architecture, for the suite.

Their loop feeds the last 32 samples of a piece to the pre-net a second time, which has moved on by
then, so that with a pre-net it is not their whole-file result: reported, not demanded.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from backtalk.bench.llvc_reference import ReferenceStream, open_reference_net
from backtalk.llvc.config import VARIANTS, LlvcConfig, llvc_small, published_config
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.graph import WeightFormat
from backtalk.llvc.network import LlvcNetwork
from backtalk.llvc.network_weights import network_of
from backtalk.llvc.random_voice import random_voice
from backtalk.llvc.voice_file import Voice

MAX_RELATIVE_ERROR = 1e-4
CHUNK_FACTORS = (1, 2, 4, 8)
SMALL = llvc_small()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="folder of the clone")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--golden", type=Path, help="write this file instead")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        if arguments.golden:
            write_golden(arguments.golden, arguments.reference)
            return
        found: dict[str, Any] = {
            variant: compare(
                arguments.reference,
                random_voice(arguments.seed, published_config(variant)),
                arguments.seconds,
            )
            for variant in VARIANTS
        }
    errors = [
        error
        for figures in found.values()
        for name, error in figures.items()
        if name.startswith("relative_error")
    ]
    found["passed"] = max(errors) <= MAX_RELATIVE_ERROR
    print(json.dumps(found, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if found["passed"] else 1)


def compare(folder: Path, voice: Voice, seconds: float) -> dict[str, Any]:
    """Every figure of a variant."""
    config = voice.config
    net, ours = open_reference_net(folder, voice), network_of(voice)
    chunks = round(seconds * 16_000 / config.chunk_size / 8) * 8
    pcm = np.random.default_rng(1).standard_normal(chunks * config.chunk_size) * 0.1
    pcm = pcm.astype(np.float32)
    odd = pcm[: pcm.size - 3 * config.hop]  # the last chunk is not full
    late = _late(net, pcm, config)
    found: dict[str, Any] = {
        "parameters": sum(p.numel() for p in ours.parameters()),
        "relative_error_whole_file": relative_error(_whole(ours, odd), _whole(net, odd)),
    }
    for factor in CHUNK_FACTORS:
        stepped = _torch_steps(ours, pcm, factor)
        found[f"relative_error_torch_steps_{factor}"] = relative_error(stepped, late)
        graph = _graph_steps(voice, pcm, factor, "float32")
        found[f"relative_error_graph_steps_{factor}"] = relative_error(graph, late)
    stream = ReferenceStream(net)
    theirs = np.concatenate([stream.step(p) for p in pcm.reshape(-1, config.chunk_size)])
    name = "their_prenets_misalignment" if config.prenet_blocks else "relative_error_their_loop"
    found[name] = relative_error(_graph_steps(voice, pcm, 1, "float32"), theirs)
    rounded = _graph_steps(voice, pcm, 1, "int8")
    noise = float(np.square(rounded - late, dtype=np.float64).sum())
    power = float(np.square(late, dtype=np.float64).sum())
    found["int8_snr_db"] = round(10 * np.log10(power / noise), 1)
    return found


def write_golden(path: Path, folder: Path) -> None:
    """Weights of a miniature, noise, and what becomes of it with and without the pre-net."""
    voice = random_voice(0, SMALL)
    golden = {f"weights.{name}": tensor for name, tensor in voice.weights.items()}
    pcm = np.random.default_rng(1).standard_normal(20 * SMALL.chunk_size) * 0.3
    golden["pcm"] = pcm.astype(np.float32)
    golden["odd_pcm"] = golden["pcm"][: 17 * SMALL.chunk_size + SMALL.hop]
    for name, variant in (("prenet", voice), ("nc", voice.without_prenet())):
        net = open_reference_net(folder, variant)
        golden[f"whole.{name}"] = _whole(net, golden["odd_pcm"])
        golden[f"late.{name}"] = _late(net, golden["pcm"], variant.config)
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in golden.items()}, path)
    print(f"wrote {path}: {path.stat().st_size} bytes")


def _whole(net: Any, pcm: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(pcm)
    if isinstance(net, LlvcNetwork):
        return net(x[None])[0].numpy()
    return net(x[None, None])[0, 0].numpy()


def _late(net: Any, pcm: np.ndarray, config: LlvcConfig) -> np.ndarray:
    """Their whole-file result for the sound after a hop of silence: what our steps give."""
    x = F.pad(torch.from_numpy(pcm), (config.hop, 0))
    return net(x[None, None])[0, 0, : pcm.size].numpy()


def _torch_steps(network: LlvcNetwork, pcm: np.ndarray, factor: int) -> np.ndarray:
    state, active = network.alloc(1), torch.tensor([True])
    pieces = torch.from_numpy(pcm)[None].split(factor * network.config.chunk_size, dim=1)
    return torch.cat([network.step(state, piece, active) for piece in pieces], dim=1)[0].numpy()


def _graph_steps(voice: Voice, pcm: np.ndarray, factor: int, weights: WeightFormat) -> np.ndarray:
    engine = LlvcEngine(voice, chunk_factor=factor, weight_format=weights)
    row = engine.open_row()
    return np.concatenate([row.step(p).copy() for p in pcm.reshape(-1, engine.frame_size)])


def relative_error(x: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over largest value."""
    return float(np.abs(x - expected).max() / np.abs(expected).max())


if __name__ == "__main__":
    main()
