"""Says inaudibly that a recording was made by a machine, and tells whether one says so.

For recordings, not for live sound: a mark needs sound before and after the place it is put in.

The weights come inside the package resemble-perth (MIT). Only its file of weights is used: the
package itself needs others that it does not name, one of which (`pkg_resources`) is gone.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backtalk.audio.resample import resample
from backtalk.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from backtalk.watermark.perth_net import PerthNet

PACKAGE = "resemble-perth"
WEIGHTS_FILE = "perth/perth_net/pretrained/implicit/perth_net_250000.pth.tar"
WEIGHTS_SHA256 = "a15bce457ebc53ce5e6c9c3f11df78cf7ee2bf9cdab0a798902135b4c4027670"

MARKED_FROM = 0.8
"""Confidence from which a recording counts as marked: of speech without a mark, the highest that
was seen is 0.75 in one second of it and 0.33 in four; of marked speech, the lowest is 0.8 and 1."""

_BLOCK_FRAMES, _CONTEXT_FRAMES = 3000, 100
"""Marked at a time, and looked at beside it: 30 s and 1 s; the network sees 0.2 s to each side."""

_LEAST_SAMPLES = 2048


class Watermark:
    """Marks recordings and sees marks. A mark holds no message and no key.

    Raises:
        ConfigError: the extra `watermark` is not installed.
        ModelError: its file of weights is not the published one.
    """

    def __init__(self) -> None:
        self._net = _load()

    def mark(self, pcm: np.ndarray, sample_rate: int) -> np.ndarray:
        """The same recording, marked.

        Args:
            pcm: float32 [T], -1..1.
            sample_rate: Hz; the mark lies below 2 kHz.
        Returns:
            float32 [T]. What is added is some 15 dB below the speech, at the same time and in the
            same bands, where speech hides it.
        """
        import torch

        from backtalk.watermark.perth_net import HOP_SIZE, SAMPLE_RATE

        block, context = _BLOCK_FRAMES * HOP_SIZE, _CONTEXT_FRAMES * HOP_SIZE
        heard = _long_enough(resample(pcm, sample_rate, SAMPLE_RATE))
        changes = []
        with torch.inference_mode():
            for begin in range(0, heard.size, block):
                first = max(0, begin - context)
                seen = torch.from_numpy(heard[first : begin + block + context])
                change = self._net.change(seen).numpy()
                changes.append(change[begin - first : begin - first + block])
        change = resample(np.concatenate(changes), SAMPLE_RATE, sample_rate)[: pcm.size]
        marked = pcm.copy()
        marked[: change.size] += change
        return marked

    def confidence(self, pcm: np.ndarray, sample_rate: int) -> float:
        """How sure it is that a recording is marked, about 0 to about 1.

        Below two seconds of speech it may be unsure, and what is no speech, such as a steady tone,
        may look marked.

        Args:
            pcm: float32 [T], -1..1.
            sample_rate: Hz, 8000 or more.
        """
        import torch

        from backtalk.watermark.perth_net import SAMPLE_RATE

        heard = _long_enough(resample(pcm, sample_rate, SAMPLE_RATE))
        with torch.inference_mode():
            return float(self._net.confidence(torch.from_numpy(heard)))


def _long_enough(pcm: np.ndarray) -> np.ndarray:
    """With silence behind it if it is shorter than a spectrum."""
    return np.pad(pcm, (0, max(0, _LEAST_SAMPLES - pcm.size)))


def _load() -> PerthNet:
    try:
        file = Path(str(metadata.distribution(PACKAGE).locate_file(WEIGHTS_FILE)))
        import torch
    except (ModuleNotFoundError, metadata.PackageNotFoundError):
        raise ConfigError(
            f"a watermark needs PyTorch and the package {PACKAGE}, which are not both installed; "
            "run: pip install 'backtalk[watermark]'"
        ) from None
    from backtalk.watermark.perth_net import PerthNet

    # The file is a pickle: only the one that is known is opened.
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise ModelError(
            f"{file} is not the watermark's published file of weights; "
            f"run: pip install --force-reinstall {PACKAGE}==1.0.1"
        )
    tensors = torch.load(file, map_location="cpu", weights_only=True)["model"]
    net = PerthNet()
    net.load_state_dict({name: tensors[name] for name in net.state_dict()})
    return net.eval()
