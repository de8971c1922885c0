"""Frame times of CSM-1B with random weights, by depth, weight format and threads.

    python benchmarks/run_rvq.py --weights int4                      # this package alone
    python benchmarks/run_rvq.py --weights int4 --against float32    # beside transformers' port
    python benchmarks/run_rvq.py --weights bfloat16 --slots 1 4 16   # conversations in one step

Adds what it finds to benchmarks/results/rvq_frames.json. With `--against`, frames of both are made
in turn in one process, on the same number of threads; that needs `transformers` and 10 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "src")]

import torch  # noqa: E402

from backtalk.bench.rvq_frames import FrameTimer, memory_gb_s, read_bytes  # noqa: E402
from backtalk.csm.config import csm_1b  # noqa: E402
from backtalk.csm.load import random_csm  # noqa: E402

DEPTHS = (32, 24, 20, 16, 12, 8)
RESULTS = HERE / "results" / "rvq_frames.json"


def transformers_model(dtype: str) -> Any:
    """The port with random weights."""
    from csm_parity import reference_model

    from backtalk.csm.checkpoint import entries

    config = csm_1b()
    model = reference_model(config)
    pool = torch.randn(2_999_999).to(getattr(torch, dtype))
    tensors = {}
    for entry in entries(config):
        size = torch.Size(entry.shape).numel()
        scale = 1.0 if len(entry.shape) == 1 else entry.shape[-1] ** -0.5
        tensor = pool.repeat(size // pool.numel() + 1)[:size].view(entry.shape)
        tensors[entry.transformers] = tensor.mul_(scale)
    model.load_state_dict(tensors, strict=False, assign=True)
    embeddings = model.backbone_model.embed_tokens.embed_audio_tokens.weight
    model.depth_decoder.model.embed_tokens.weight = embeddings
    return model


def transformers_frame_ms(model: Any, frames: int = 2) -> float:
    """Time of a frame: what `frames` more of them cost."""
    took_s = []
    for count in (1, 1 + frames):
        began_s = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                input_ids=torch.arange(1, 17)[None],
                attention_mask=torch.ones(1, 16, dtype=torch.int64),
                max_new_tokens=count,
                min_new_tokens=count,
                output_audio=False,
                do_sample=True,
                depth_decoder_do_sample=True,
            )
        took_s.append(time.perf_counter() - began_s)
    return 1000 * (took_s[1] - took_s[0]) / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="int4")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", choices=["float32", "bfloat16"])
    parser.add_argument("--slots", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    began_s = time.perf_counter()
    model = random_csm(0, weights=arguments.weights)
    load_s = time.perf_counter() - began_s
    theirs = transformers_model(arguments.against) if arguments.against else None
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for threads, slots in product(arguments.threads, arguments.slots):
        torch.set_num_threads(threads)
        timer = FrameTimer(model, slots)
        label = f"{arguments.weights}, {threads} threads"
        if slots > 1:
            label += f", {slots} conversations"
        if theirs is None:
            rows = [row.as_dict() for row in timer.measure(DEPTHS, arguments.rounds)]
        else:
            label += f", against transformers {arguments.against}"
            transformers_frame_ms(theirs, 1)
            both: dict[str, list[float]] = {"ours": [], "transformers": []}
            timer.frame_ms(32)
            for _ in range(arguments.rounds):
                both["ours"].append(timer.frame_ms(32))
                both["transformers"].append(transformers_frame_ms(theirs))
            medians = {name: round(statistics.median(ms), 1) for name, ms in both.items()}
            ratio = round(medians["transformers"] / medians["ours"], 2)
            rows = [{"depth": 32, **medians, "ratio": ratio, "all_ms": both}]
        bandwidth = round(memory_gb_s(), 2)
        found[label] = {"memory_gb_s": bandwidth, "load_s": round(load_s, 1), "rows": rows}
        print(f"{label}; memory {bandwidth} GB/s; {read_bytes(model, 32) / 1e9:.2f} GB a frame")
        for row in rows:
            print(f"  {row}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
