"""Who is speaking, as a vector: the encoder of Resemblyzer.

Source: Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP 2018 (arXiv
1710.10467); weights and windows of github.com/resemble-ai/Resemblyzer 0.1.4 (Apache-2.0). That
package cannot be imported beside a current SciPy and setuptools, so only its weights are used.
Unlike its `preprocess_wav`, pauses are not cut out of the speech.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.errors import ConfigError, ModelError

SAMPLE_RATE = 16_000
N_MELS = 40
_N_FFT, _HOP = 400, 160
_PARTIAL_FRAMES = 160
_STEP_FRAMES = 77  # 1.3 partials a second
_MIN_COVERAGE = 0.75
_LEVEL_DBFS = -30.0


class SpeakerEncoder:
    """The network, on the CPU.

    Args:
        folder: with `pretrained.pt`.
    Raises:
        ConfigError: torch is not installed.
        ModelError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import torch
        except ModuleNotFoundError as error:
            raise ConfigError(
                "speaker similarity needs torch; run `pip install 'backtalk[eval]'`"
            ) from error
        self._torch = torch
        self._lstm = torch.nn.LSTM(N_MELS, 256, 3, batch_first=True)
        self._linear = torch.nn.Linear(256, 256)
        try:
            path = folder / "pretrained.pt"
            state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
            self._lstm.load_state_dict(_part(state, "lstm."))
            self._linear.load_state_dict(_part(state, "linear."))
        except Exception as error:
            raise ModelError(
                f"the speaker encoder in {folder} cannot be loaded: {error}; delete that folder "
                "and try again"
            ) from error

    def embed(self, pcm: np.ndarray) -> np.ndarray:
        """The speaker of a recording.

        Args:
            pcm: float32 [T >= 1] at 16 kHz.
        Returns:
            float32 [256] of length 1, no element below 0.
        """
        partials = self._torch.from_numpy(partial_mels(as_loud_as_trained(pcm)))
        with self._torch.inference_mode():
            _, (hidden, _) = self._lstm(partials)
            raw = self._torch.relu(self._linear(hidden[-1]))
            vectors = raw / raw.norm(dim=1, keepdim=True)
        return unit(vectors.mean(dim=0).numpy())


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two vectors of length 1: two recordings of a speaker are at about 0.8 and more."""
    return float(first @ second)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def as_loud_as_trained(pcm: np.ndarray) -> np.ndarray:
    """Raise a quiet recording to -30 dBFS; a louder one stays."""
    level = float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64))))
    if level <= 0.0:
        return pcm
    return pcm * np.float32(max(1.0, 10 ** (_LEVEL_DBFS / 20) / level))


def partial_mels(pcm: np.ndarray) -> np.ndarray:
    """Overlapping windows of 1.6 s of mel power: float32 [partials, 160, 40]."""
    frames = -(-(len(pcm) + 1) // _HOP)
    starts = list(range(0, max(1, frames - _PARTIAL_FRAMES + _STEP_FRAMES + 1), _STEP_FRAMES))
    covered = (len(pcm) - starts[-1] * _HOP) / (_PARTIAL_FRAMES * _HOP)
    if covered < _MIN_COVERAGE and len(starts) > 1:
        starts.pop()
    end = (starts[-1] + _PARTIAL_FRAMES) * _HOP
    mels = _mel_power(np.pad(pcm, (0, max(0, end - len(pcm)))))
    return np.stack([mels[start : start + _PARTIAL_FRAMES] for start in starts])


def _mel_power(pcm: np.ndarray) -> np.ndarray:
    """Mel power, not its logarithm, frame n centred on sample 160 n: float32 [1 + T // 160, 40]."""
    padded = np.pad(pcm.astype(np.float32), _N_FFT // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP]
    hann = np.hanning(_N_FFT + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2
    return (power @ _filters().T).astype(np.float32)


@cache
def _filters() -> np.ndarray:
    """Slaney's triangles, each of unit area, on 0 to 8 kHz: float64 [40, 201]."""
    # Linear to 1 kHz (mel 15), logarithmic above, 27 mels for each factor of 6.4.
    step = np.log(6.4) / 27.0
    top = 15.0 + np.log(SAMPLE_RATE / 2 / 1000.0) / step
    mels = np.linspace(0.0, top, N_MELS + 2)
    edges_hz = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp(step * (mels - 15.0)))
    bins_hz = np.linspace(0.0, SAMPLE_RATE / 2, _N_FFT // 2 + 1)
    lower, centre, upper = (edges_hz[n : n + N_MELS, None] for n in range(3))
    rising, falling = (bins_hz - lower) / (centre - lower), (upper - bins_hz) / (upper - centre)
    return np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (upper - lower)


def _part(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
