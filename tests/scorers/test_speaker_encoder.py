"""The speaker encoder: the vectors of Resemblyzer 0.1.4 on recordings of this repository.

The expected figures were computed with that package (librosa 0.11, torch 2.13):
`VoiceEncoder("cpu").embed_utterance(normalize_volume(pcm, -30, increase_only=True))`, every 16th
element.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backtalk.audio.files import read_audio
from backtalk.errors import ModelError
from backtalk.models.store import ModelStore

pytest.importorskip("torch")
from backtalk.scorers.speaker_encoder import SpeakerEncoder, partial_mels, similarity

ROOT = Path(__file__).parents[2]
QUESTION = ROOT / "benchmarks/questions/plain/34-what-should-i-wear-when-it-rains.flac"
SHORT = ROOT / "benchmarks/questions/plain/01-what-is-your-name.flac"
THEIRS = [
    0.15548,
    0.03425,
    0.0,
    0.12665,
    0.12831,
    0.0,
    0.02725,
    0.0,
    0.01995,
    0.08378,
    0.16586,
    0.01956,
    0.0,
    0.03313,
    0.0,
    0.04357,
]
THEIRS_SHORT = [
    0.19509,
    0.0,
    0.0,
    0.05977,
    0.1598,
    0.0,
    0.0,
    0.0,
    0.02531,
    0.04306,
    0.23864,
    0.05142,
    0.0,
    0.02039,
    0.0,
    0.02238,
]


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder(ModelStore.default().require("resemblyzer"))


@pytest.mark.models
@pytest.mark.parametrize(("path", "theirs"), [(QUESTION, THEIRS), (SHORT, THEIRS_SHORT)])
def test_vectors_are_those_of_the_reference(
    encoder: SpeakerEncoder, path: Path, theirs: list[float]
) -> None:
    found = encoder.embed(read_audio(path).pcm)
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-5)
    assert found[::16] == pytest.approx(theirs, abs=2e-4)


@pytest.mark.models
def test_a_speaker_is_more_like_himself_than_like_another(encoder: SpeakerEncoder) -> None:
    from backtalk.cascade.hibari_tts import HibariTts
    from backtalk.stream.cancel import CancelToken

    heart = next(iter(HibariTts().speak("The capital of France is Paris.", CancelToken()))).pcm
    from backtalk.audio.resample import resample

    joe, joe_again = (encoder.embed(read_audio(path).pcm) for path in (QUESTION, SHORT))
    her = encoder.embed(resample(heart, 24_000, 16_000))
    assert similarity(joe, joe_again) > 0.75
    assert similarity(joe, her) < 0.7


@pytest.mark.parametrize("samples", [1, 160, 16_000, 25_600, 40_000, 160_000])
def test_any_length_is_cut_into_whole_windows(samples: int) -> None:
    mels = partial_mels(np.full(samples, 0.1, np.float32))
    assert mels.shape[1:] == (160, 40)
    assert mels.dtype == np.float32
    assert len(mels) >= max(1, samples // 16_000 - 1)


def test_a_damaged_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "pretrained.pt").write_bytes(b"no network")
    with pytest.raises(ModelError, match="delete that folder"):
        SpeakerEncoder(tmp_path)
