"""The authors' own network and streaming loop, from a copy of their repository, as a contestant.

Source: https://github.com/KoeAI/LLVC, commit 1627c5d, MIT. It is not part of Backtalk and never
copied into it: give the folder of a clone. It needs torch; of speechbrain it needs one sine table,
which is made here where speechbrain is not installed.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.bench.llvc import LlvcContestant
from backtalk.errors import ConfigError
from backtalk.llvc.config import LlvcConfig
from backtalk.llvc.folded import position_table
from backtalk.llvc.voice_file import Voice
from backtalk.machine import rss_mib

_MODULE = "speechbrain.lobes.models.transformer.Transformer"
_CONFIG = "experiments/llvc/config.json"


def open_reference_net(folder: Path, voice: Voice) -> Any:
    """The authors' `Net` with a voice's weights, in evaluation mode.

    Raises:
        ConfigError: the folder is no copy of their repository, or torch is missing.
    """
    if not (folder / "model.py").is_file() or not (folder / _CONFIG).is_file():
        raise ConfigError(f"{folder} is no copy of https://github.com/KoeAI/LLVC; clone it there")
    if find_spec("torch") is None:
        raise ConfigError("the authors' code needs PyTorch: pip install 'backtalk[models]'")
    import torch

    net = _net_class(folder)(**_their_parameters(folder, voice.config))
    tensors = {name: torch.from_numpy(np.array(t)) for name, t in voice.weights.items()}
    tensors["mask_gen.decoder.pos_enc.pe"] = net.mask_gen.decoder.pos_enc.pe
    net.load_state_dict(tensors)
    return net.eval()


class ReferenceStream:
    """Their streaming loop: each call gets the end of the last piece again.

    Its output n belongs to the piece's sample n, of a sound whose first hop is cut off.
    """

    def __init__(self, net: Any) -> None:
        import torch

        self._net = net
        self._overlap = torch.zeros(2 * net.L)
        cpu = torch.device("cpu")
        self._buffers = net.init_buffers(1, cpu)
        has_prenet = hasattr(net, "convnet_pre")
        self._prenet = net.convnet_pre.init_ctx_buf(1, cpu) if has_prenet else None

    def step(self, pcm: np.ndarray) -> np.ndarray:
        """The next whole chunks."""
        import torch

        with torch.inference_mode():
            piece = torch.from_numpy(pcm)
            heard = torch.cat((self._overlap, piece))[None, None]
            out, *buffers, self._prenet = self._net(heard, *self._buffers, self._prenet, pad=False)
            self._buffers = buffers
            self._overlap = piece[-2 * self._net.L :]
            return np.asarray(out[0, 0])


def reference_contestant(folder: Path, voice: Voice, chunk_factor: int) -> LlvcContestant:
    """Their network in their loop."""
    before_mib = rss_mib()
    stream = ReferenceStream(open_reference_net(folder, voice))
    return LlvcContestant(
        "authors' torch",
        chunk_factor,
        chunk_factor * voice.config.chunk_size,
        voice.config.lookahead_samples,
        stream.step,
        rss_mib() - before_mib,
    )


def _their_parameters(folder: Path, config: LlvcConfig) -> dict[str, Any]:
    parameters: dict[str, Any] = json.loads((folder / _CONFIG).read_text())["model_params"]
    parameters |= {
        "L": config.hop,
        "enc_dim": config.width,
        "num_enc_layers": config.encoder_layers,
        "dec_dim": config.decoder_width,
        "dec_buf_len": config.context_frames,
        "dec_chunk_size": config.chunk_frames,
        "out_buf_len": config.overlap_frames,
    }
    prenet = parameters["convnet_config"]
    prenet["convnet_prenet"] = config.prenet_blocks > 0
    for name in ("out_channels", "kernel_sizes", "dilations"):
        prenet[name] = prenet[name][:1] * config.prenet_blocks
    return parameters


def _net_class(folder: Path) -> Any:
    if "speechbrain" not in sys.modules and not find_spec("speechbrain"):
        _stand_in_for_speechbrain()
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("model").Net
    finally:
        sys.path.remove(str(folder))


def _stand_in_for_speechbrain() -> None:
    import torch

    class PositionalEncoding(torch.nn.Module):
        """Gives the first rows of a table of sines and cosines."""

        pe: torch.Tensor

        def __init__(self, input_size: int, max_len: int) -> None:
            super().__init__()
            table = torch.from_numpy(position_table(max_len, input_size))
            self.register_buffer("pe", table[None])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.pe[:, : x.shape[1]]

    parts = _MODULE.split(".")
    for i in range(1, len(parts) + 1):
        name = ".".join(parts[:i])
        sys.modules.setdefault(name, types.ModuleType(name))
    vars(sys.modules[_MODULE])["PositionalEncoding"] = PositionalEncoding
