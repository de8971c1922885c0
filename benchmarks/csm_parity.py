"""Compare our CSM with the port in `transformers` on the same random weights, or keep its numbers.

    python benchmarks/csm_parity.py --size 1b       # full size: 13 GB of memory, a few minutes
    python benchmarks/csm_parity.py --size tiny     # also writes tests/golden/csm_tiny.safetensors

Needs `transformers` (5.23.0 was used) beside torch. The default suite compares with the kept file.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "csm"), str(ROOT / "src")]

from golden_weights import golden_codes, golden_tensors, golden_text  # noqa: E402

from backtalk.csm.checkpoint import convert, entries  # noqa: E402
from backtalk.csm.config import CsmConfig, csm_1b, csm_tiny  # noqa: E402
from backtalk.csm.load import build_csm  # noqa: E402

FRAMES = 4
GOLDEN = ROOT / "tests" / "golden" / "csm_tiny.safetensors"


def reference(config: CsmConfig, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What transformers computes."""
    model = reference_model(config)
    print("transformers:", sum(p.numel() for p in model.parameters()) - _codec(model), "parameters")
    missing, extra = model.load_state_dict(
        convert(tensors, "transformers", config), strict=False, assign=True
    )
    unknown = [key for key in missing if "codec_model" not in key and "embed_tokens" not in key]
    assert not unknown, unknown
    assert not extra, extra
    model.depth_decoder.model.embed_tokens.weight = (
        model.backbone_model.embed_tokens.embed_audio_tokens.weight
    )
    text, codes = golden_text(config), golden_codes(config)
    backbone, depth = model.backbone_model, model.depth_decoder
    embedded = torch.cat([model.embed_text_tokens(text), backbone.embed_tokens(codes.t()[None])[0]])
    hidden = backbone(inputs_embeds=embedded[None]).last_hidden_state
    first_logits = model.lm_head(hidden[:, -1])
    ids = torch.cat([torch.zeros(1, 1, dtype=torch.int64), codes[None, :-1, 0]], dim=1)
    depth_logits = depth(input_ids=ids, backbone_last_hidden_state=hidden[:, -1]).logits
    started_s = time.perf_counter()
    frames = model.generate(
        input_ids=text[None],
        attention_mask=torch.ones(1, len(text), dtype=torch.int64),
        do_sample=False,
        depth_decoder_do_sample=False,
        max_new_tokens=FRAMES,
        output_audio=False,
    )
    print(f"transformers: {(time.perf_counter() - started_s) / FRAMES:.3f} s a frame")
    return {
        "hidden": hidden[0].clone(),
        "first_logits": first_logits[0].clone(),
        "depth_logits": depth_logits[0].clone(),
        "frames": frames[0].clone(),
    }


def reference_model(config: CsmConfig) -> Any:
    """The port with our sizes, without values."""
    from transformers import CsmConfig as TheirConfig
    from transformers import CsmForConditionalGeneration

    def sizes(size: Any) -> dict[str, Any]:
        return {
            "hidden_size": size.width,
            "intermediate_size": size.hidden,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.kv_heads,
            "head_dim": size.head_dim,
            "max_position_embeddings": size.max_positions,
            "vocab_size": config.audio_vocab,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500_000.0,
                "factor": 32.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
        }

    theirs = TheirConfig(
        **sizes(config.backbone),
        num_codebooks=config.codebooks,
        text_vocab_size=config.text_vocab,
        codebook_pad_token_id=config.audio_vocab - 1,
        codebook_eos_token_id=0,
        depth_decoder_config={
            **sizes(config.depth),
            "num_codebooks": config.codebooks,
            "backbone_hidden_size": config.backbone.width,
        },
        attn_implementation="sdpa",
    )
    with torch.device("meta"):
        model = CsmForConditionalGeneration(theirs).eval()
    model.codec_model = None
    for module in model.modules():  # what is computed from the config is no weight
        if type(module).__name__.endswith("RotaryEmbedding"):
            module.__init__(module.config)
        elif hasattr(module, "audio_tokens_offsets"):
            module.audio_tokens_offsets = torch.arange(config.codebooks) * config.audio_vocab
    return model


def _codec(model: Any) -> int:
    return sum(p.numel() for p in model.codec_model.parameters()) if model.codec_model else 0


def ours(config: CsmConfig, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What this package computes."""
    model = build_csm(config, lambda entry: tensors[entry.original], "original")
    text, codes = golden_text(config), golden_codes(config)
    state, active = model.alloc(1), torch.tensor([True])
    embedded = torch.cat([model.embed_text(text), model.embed_codes(codes.t())])
    hidden = model.take(state, embedded[None], active)
    x = torch.cat((model.projection(hidden[:, -1:]), model._depth_input(0, codes[None, 0, 0])), 1)
    depth_logits = []
    for at in range(1, config.codebooks):
        logits = model.depth.run(state.depth, x, state.depth_places[at - 1])
        depth_logits.append(model.later_heads[at - 1](logits[:, -1]))
        x = model._depth_input(at, codes[None, at, 0])
    model.reset(state, active)
    model.take(state, model.embed_text(text[None, :-1]), active)
    state.pending.copy_(model.embed_text(text[None, -1:]))
    frames = [model.step(state, active, config.codebooks)[0] for _ in range(FRAMES)]
    return {
        "hidden": hidden[0],
        "first_logits": model.first_head(hidden[0, -1]),
        "depth_logits": torch.cat(depth_logits),
        "frames": torch.stack(frames),
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["tiny", "1b"], default="tiny")
    size = parser.parse_args().size
    config = csm_tiny() if size == "tiny" else csm_1b()
    tensors = golden_tensors(config)
    print(f"{size}: {sum(t.numel() for t in tensors.values()):,} parameters")
    theirs = reference(config, tensors)
    gc.collect()
    found = ours(config, tensors)
    for name in ("hidden", "first_logits", "depth_logits"):
        error = (found[name] - theirs[name]).abs().max() / theirs[name].abs().max()
        print(f"{name}: max relative error {error:.2e}")
        assert error <= 1e-4, name
    assert torch.equal(found["frames"], theirs["frames"]), "greedy frames differ"
    print(f"{FRAMES} greedy frames of {config.codebooks} codes are equal")
    assert {e.transformers for e in entries(config)} == set(
        convert(tensors, "transformers", config)
    )
    if size == "tiny":
        save_file(theirs, GOLDEN)
        print(f"wrote {GOLDEN} ({GOLDEN.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
