"""DNSMOS P.835: what people would say of speech, guessed by a network.

Source: Reddy, Gopal and Cutler, "DNSMOS P.835: a non-intrusive perceptual objective speech quality
metric to evaluate noise suppressors", ICASSP 2022 (arXiv 2110.01763); network and polynomials from
github.com/microsoft/DNS-Challenge (MIT), through the package `speechmos` 0.0.1.1, whose windows
these are. `tests/eval/test_dnsmos.py` holds what that package says of a recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backtalk.errors import ModelError

SAMPLE_RATE = 16_000
_WINDOW_SAMPLES = int(9.01 * SAMPLE_RATE)

# Raw outputs to ratings: highest power first.
_SIGNAL = (-0.08397278, 1.22083953, 0.0052439)
_BACKGROUND = (-0.13166888, 1.60915514, -0.39604546)
_OVERALL = (-0.06766283, 1.11546468, 0.04602535)


@dataclass(frozen=True, slots=True)
class SpeechQuality:
    """Ratings from 1 (bad) to 5 (excellent).

    Attributes:
        signal: how natural the speech is.
        background: how little else there is.
        overall: all in all.
    """

    signal: float
    background: float
    overall: float


class Dnsmos:
    """The network.

    Args:
        folder: with `sig_bak_ovr.onnx`.
    Raises:
        ModelError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._network = ort.InferenceSession(
                str(folder / "sig_bak_ovr.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(
                f"DNSMOS in {folder} cannot be loaded: {error}; delete that folder and try again"
            ) from error

    def rate(self, pcm: np.ndarray) -> SpeechQuality:
        """Rate a recording; one shorter than 9.01 s is repeated until it is long enough.

        Args:
            pcm: float32 [T >= 1] at 16 kHz.
        """
        audio = np.clip(pcm.astype(np.float32), -1.0, 1.0)
        while len(audio) < _WINDOW_SAMPLES:
            audio = np.concatenate([audio, audio])
        # As many whole seconds as speechmos steps through, which is one fewer than would fit.
        steps = int(len(audio) // SAMPLE_RATE - 9.01) + 1
        windows = (audio[at * SAMPLE_RATE :][:_WINDOW_SAMPLES] for at in range(steps))
        raw = np.array(
            [
                self._network.run(None, {"input_1": window[None]})[0][0]
                for window in windows
                if len(window) == _WINDOW_SAMPLES
            ]
        )
        signal, background, overall = (
            float(np.polyval(curve, raw[:, column]).mean())
            for column, curve in enumerate((_SIGNAL, _BACKGROUND, _OVERALL))
        )
        return SpeechQuality(signal, background, overall)
