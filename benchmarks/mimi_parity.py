"""Mimi against two independent implementations, on the same random full-size weights.

transformers reads them in its layout, rustymimi (Kyutai's own, in Rust) in Kyutai's. Compared are
the codes of noise that is longer than the transformers' window, the waveform decoded from the same
codes, and the conversion between the layouts. Needs `transformers==5.23.0` and `rustymimi==0.4.1`,
which Backtalk itself does not.

    python benchmarks/mimi_parity.py
    python benchmarks/mimi_parity.py --golden tests/golden/mimi_small.safetensors

The second writes what transformers makes of a miniature of the same architecture, for the suite.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from backtalk.codecs.mimi.config import MimiConfig, mimi_small
from backtalk.codecs.mimi.layouts import to_kyutai, to_transformers
from backtalk.codecs.mimi.load import load_mimi
from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.random_mimi import random_mimi_tensors

MAX_RELATIVE_ERROR = 1e-4
LEAST_EQUAL_CODES = 0.999  # two centroids may be equally near but for rounding
RUSTYMIMI_CODEBOOKS = 8  # not to be chosen there
# There, a position looks back at itself and 250 more; in Kyutai's Python code and in transformers
# at 249 more. It shows from the 10th second on.
RUSTYMIMI_WINDOW = 251
SMALL = mimi_small()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=14.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--golden", type=Path, help="write this file instead")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        if arguments.golden:
            write_golden(arguments.golden, Path(folder))
            return
        found = compare(Path(folder), arguments.seconds, arguments.seed)
    print(json.dumps(found, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if found["passed"] else 1)


def compare(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Every figure, and whether all are within bounds."""
    config = MimiConfig()
    tensors = random_mimi_tensors(seed, config)
    theirs = to_transformers(tensors, config)
    back = to_kyutai(theirs, config)
    is_exact = back.keys() == tensors.keys() and all(
        torch.equal(back[name], tensor) for name, tensor in tensors.items()
    )
    kyutai_file = folder / "kyutai.safetensors"
    save_file(tensors, kyutai_file)
    reference = open_transformers(folder, theirs, config)
    ours = load_mimi(folder / "model.safetensors")
    frames = round(seconds * config.frame_rate)
    pcm = 0.1 * torch.randn(1, frames * config.frame_size, generator=torch.manual_seed(seed))

    codes = encode(ours, pcm, config.total_codebooks)
    expected = reference.encode(pcm[:, None]).audio_codes
    found: dict[str, Any] = {
        "conversion_is_bit_exact": is_exact,
        "parameters": sum(p.numel() for p in ours.parameters()),
        "frames": frames,
        "transformers": {
            "equal_codes": share_equal(codes, expected),
            "decode_relative_error": {
                str(n): relative_error(
                    decode(ours, expected[:, :n]),
                    reference.decode(expected[:, :n]).audio_values[:, 0],
                )
                for n in (1, 8, 32)
            },
        },
    }
    del reference
    like_rustymimi = load_mimi(kyutai_file, replace(config, window=RUSTYMIMI_WINDOW))
    found["rustymimi"] = against_rustymimi(like_rustymimi, kyutai_file, pcm)
    errors = [
        *found["transformers"]["decode_relative_error"].values(),
        found["rustymimi"]["decode_relative_error"],
        found["rustymimi"]["streaming_decode_relative_error"],
    ]
    shares = [
        found["transformers"]["equal_codes"],
        found["rustymimi"]["equal_codes"],
        found["rustymimi"]["streaming_equal_codes"],
    ]
    found["passed"] = (
        is_exact and max(errors) <= MAX_RELATIVE_ERROR and min(shares) >= LEAST_EQUAL_CODES
    )
    return found


def against_rustymimi(ours: MimiModel, file: Path, pcm: Tensor) -> dict[str, float]:
    """Whole recordings and frame by frame."""
    import rustymimi

    tokenizer = rustymimi.Tokenizer(str(file))
    frames = pcm.shape[1] // ours.config.frame_size
    sound = pcm[:, None].numpy()
    whole = tokenizer.encode(sound)
    tokenizer.reset()
    stepped = _by_frame(tokenizer.encode_step, sound, frames)
    tokenizer.reset()
    whole_pcm = tokenizer.decode(whole)
    tokenizer.reset()
    stepped_pcm = _by_frame(tokenizer.decode_step, whole, frames)

    codes = encode(ours, pcm, RUSTYMIMI_CODEBOOKS)
    decoded = decode(ours, torch.from_numpy(whole.astype(np.int64)))
    return {
        "equal_codes": share_equal(codes, whole),
        "streaming_equal_codes": share_equal(codes, stepped),
        "decode_relative_error": relative_error(decoded, torch.from_numpy(whole_pcm)[:, 0]),
        "streaming_decode_relative_error": relative_error(
            decoded, torch.from_numpy(stepped_pcm)[:, 0]
        ),
    }


def _by_frame(step: Callable[[Any], Any], x: Any, frames: int) -> Any:
    size = x.shape[-1] // frames
    pieces = [np.ascontiguousarray(x[..., i * size : (i + 1) * size]) for i in range(frames)]
    return np.concatenate([step(piece) for piece in pieces], axis=-1)


def encode(model: MimiModel, pcm: Tensor, num_codebooks: int) -> Tensor:
    """Frame by frame: float [1, T] to int64 [1, num_codebooks, frames]."""
    state, active = model.encoder.alloc(1), torch.tensor([True])
    pieces = pcm.split(model.config.frame_size, dim=1)
    codes = [model.encoder.step(state, piece, active, num_codebooks) for piece in pieces]
    return torch.cat(codes, dim=2)


def decode(model: MimiModel, codes: Tensor) -> Tensor:
    """Frame by frame: int64 [1, codebooks, frames] to float [1, T]."""
    state, active = model.decoder.alloc(1), torch.tensor([True])
    return torch.cat([model.decoder.step(state, c, active) for c in codes.split(1, dim=2)], dim=1)


def open_transformers(folder: Path, tensors: dict[str, Tensor], config: MimiConfig) -> Any:
    """Their model, from a file as it is published."""
    import transformers

    transformers.MimiConfig(
        num_filters=config.channels,
        upsampling_ratios=list(reversed(config.strides)),
        kernel_size=config.kernel,
        residual_kernel_size=config.residual_kernel,
        last_kernel_size=config.last_kernel,
        hidden_size=config.width,
        upsample_groups=config.width,
        num_hidden_layers=config.transformer_layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.width // config.heads,
        intermediate_size=config.hidden,
        sliding_window=config.window,
        codebook_dim=config.codebook_dim,
        vector_quantization_hidden_dimension=config.codebook_dim,
        codebook_size=config.cardinality,
        num_quantizers=config.total_codebooks,
        num_semantic_quantizers=config.semantic_codebooks,
        frame_rate=config.frame_rate,
    ).save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model, loading = transformers.MimiModel.from_pretrained(folder, output_loading_info=True)
    wrong = {what: names for what, names in loading.items() if names}
    if wrong:
        raise SystemExit(f"transformers did not take the weights as they are: {wrong}")
    return model.eval()


def write_golden(path: Path, folder: Path) -> None:
    """Weights of a miniature in their layout, noise, its codes and what becomes of them."""
    tensors = to_transformers(random_mimi_tensors(0, SMALL), SMALL)
    reference = open_transformers(folder, tensors, SMALL)
    pcm = torch.randn(1, 24 * SMALL.frame_size, generator=torch.manual_seed(0))
    codes = reference.encode(pcm[:, None]).audio_codes
    golden = {f"weights.{name}": tensor for name, tensor in tensors.items()}
    golden |= {"pcm": pcm, "codes": codes.contiguous()}
    for n in (1, 2, 4):
        golden[f"decoded.{n}"] = reference.decode(codes[:, :n]).audio_values[:, 0].contiguous()
    save_file(golden, path)
    print(f"wrote {path}: {path.stat().st_size} bytes, codes {tuple(codes.shape)}")


def share_equal(codes: Tensor, expected: Any) -> float:
    """How many codes are the same, 0 to 1."""
    return float((codes.numpy() == np.asarray(expected).astype(np.int64)).mean())


def relative_error(x: Tensor, expected: Tensor) -> float:
    """Largest difference over largest value, trailing samples that only one has left out."""
    length = min(x.shape[-1], expected.shape[-1])
    difference = (x[..., :length] - expected[..., :length]).abs().max()
    return float(difference / expected.abs().max())


if __name__ == "__main__":
    main()
