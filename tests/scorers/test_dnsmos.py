"""DNSMOS: the ratings of `speechmos` 0.0.1.1 on recordings of this repository.

The expected figures were computed with that package (librosa 0.11):
`speechmos.dnsmos.run(pcm, 16000)`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backtalk.audio.files import read_audio
from backtalk.errors import ModelError
from backtalk.models.store import ModelStore
from backtalk.scorers.dnsmos import Dnsmos

ROOT = Path(__file__).parents[2]
QUESTIONS = [
    "benchmarks/questions/plain/01-what-is-your-name.flac",
    "benchmarks/questions/plain/34-what-should-i-wear-when-it-rains.flac",
    "src/backtalk/demo/1-can-you-tell-me-how-rainbows-are-made.flac",
]
THEIRS = [(3.2132, 3.4394, 4.1441), (3.2248, 3.4813, 4.0913), (3.0918, 3.3184, 4.127)]
LONG = (3.2541, 3.4954, 4.1139)


@pytest.fixture(scope="module")
def dnsmos() -> Dnsmos:
    return Dnsmos(ModelStore.default().require("dnsmos"))


@pytest.mark.models
@pytest.mark.parametrize(("path", "theirs"), list(zip(QUESTIONS, THEIRS, strict=True)))
def test_ratings_are_those_of_the_reference(
    dnsmos: Dnsmos, path: str, theirs: tuple[float, float, float]
) -> None:
    found = dnsmos.rate(read_audio(ROOT / path).pcm)
    assert (found.overall, found.signal, found.background) == pytest.approx(theirs, abs=2e-3)


@pytest.mark.models
def test_a_long_recording_is_rated_window_by_window(dnsmos: Dnsmos) -> None:
    pcm = np.concatenate([read_audio(ROOT / path).pcm for path in QUESTIONS] * 3)
    found = dnsmos.rate(pcm)
    # speechmos leaves out windows whose end it rounds down by a sample; here, all of them count.
    assert (found.overall, found.signal, found.background) == pytest.approx(LONG, abs=1e-2)


@pytest.mark.models
def test_noise_is_rated_worse_than_speech(dnsmos: Dnsmos) -> None:
    speech = read_audio(ROOT / QUESTIONS[0]).pcm
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, speech.size).astype(np.float32)
    assert dnsmos.rate(noise).overall < dnsmos.rate(speech).overall - 1


def test_a_damaged_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "sig_bak_ovr.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="delete that folder"):
        Dnsmos(tmp_path)
