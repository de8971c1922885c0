"""HuBERT beside `transformers` on random weights, with weight norm and with a batch norm.

pip install transformers
python benchmarks/hubert_parity.py
python benchmarks/hubert_parity.py --golden tests/golden/hubert_tiny.safetensors
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from backtalk.codecs.units.hubert_checkpoint import load_hubert_encoder

_BASE = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "channels": 512,
}
_TINY = {
    "hidden_size": 16,
    "num_attention_heads": 1,
    "intermediate_size": 32,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "channels": 8,
}


def published(sizes: dict[str, int], layers: int, *, is_25_hz: bool) -> torch.nn.Module:
    """A `HubertModel` with random weights; those at 25 Hz have a batch norm."""
    from transformers import HubertConfig, HubertModel

    sizes = dict(sizes)
    kernels = [10, 3, 3, 3, 3, 2, 2] + [2] * is_25_hz
    torch.manual_seed(0)
    config = HubertConfig(
        num_hidden_layers=layers,
        conv_dim=[sizes.pop("channels")] * len(kernels),
        conv_kernel=kernels,
        conv_stride=[5] + [2] * (len(kernels) - 1),
        num_feat_extract_layers=len(kernels),
        conv_pos_batch_norm=is_25_hz,
        **sizes,
    )
    model = HubertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return model


def main() -> None:
    """Compare, and write the golden file if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, help="write a tiny one with its states here")
    arguments = parser.parse_args()
    pcm = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
    pcm = pcm[: 3200 if arguments.golden else 16_000]
    padded = torch.from_numpy(np.pad(pcm, 40))[None]
    golden = {"pcm": torch.from_numpy(pcm)}
    sizes, layers = (_TINY, 2) if arguments.golden else (_BASE, 12)
    for is_25_hz in (False, True):
        model = published(sizes, layers, is_25_hz=is_25_hz)
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        with torch.inference_mode():
            states = model(padded, output_hidden_states=True).hidden_states
        rate = "25" if is_25_hz else "50"
        golden |= {f"{rate}/weights/{name}": tensor for name, tensor in tensors.items()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save_file(tensors, path)
            for layer in range(1, layers + 1):
                ours = load_hubert_encoder(path, layer, "random").states(pcm)
                golden[f"{rate}/states/{layer}"] = states[layer][0].clone()
                apart = float(np.abs(ours - states[layer][0].numpy()).max())
                print(f"{rate} Hz, layer {layer}: {ours.shape}, largest difference {apart:.2g}")
    if arguments.golden:
        save_file(golden, arguments.golden)


if __name__ == "__main__":
    main()
