"""Real marks in real speech: seen after files, rates and codecs, and not where there is none."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backtalk.audio.files import read_audio, write_wav  # noqa: E402
from backtalk.errors import ConfigError, ModelError  # noqa: E402
from backtalk.watermark import watermark  # noqa: E402
from backtalk.watermark.watermark import MARKED_FROM, Watermark  # noqa: E402

DEMO = Path(watermark.__file__).parents[1] / "demo"
QUESTIONS = sorted(DEMO.glob("*.flac"))

needs_weights = pytest.mark.skipif(
    not any(metadata.distributions(name=watermark.PACKAGE)),
    reason="the extra `watermark` brings the weights and is not installed",
)


@pytest.fixture(scope="module")
def mark() -> Watermark:
    return Watermark()


@needs_weights
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda path: path.stem)
def test_a_mark_is_seen_after_a_file_and_another_rate_and_nothing_is_seen_without_it(
    mark: Watermark, question: Path, tmp_path: Path
) -> None:
    speech = read_audio(question, 24_000)
    for is_marked in (True, False):
        pcm = mark.mark(speech.pcm, 24_000) if is_marked else speech.pcm
        write_wav(tmp_path / "a.wav", pcm, 24_000)
        for sample_rate in (24_000, 16_000, 8_000, 48_000):
            read = read_audio(tmp_path / "a.wav", sample_rate)
            confidence = mark.confidence(read.pcm, sample_rate)
            assert (confidence > 0.9) if is_marked else (confidence < MARKED_FROM / 2)


@needs_weights
def test_a_mark_is_seen_in_a_second_of_it_and_played_quietly(mark: Watermark) -> None:
    speech = read_audio(QUESTIONS[0], 24_000).pcm
    marked = mark.mark(speech, 24_000)
    middle = marked.size // 2
    assert mark.confidence(0.2 * marked[middle - 12_000 : middle + 12_000], 24_000) > 0.9


@needs_weights
@pytest.mark.parametrize("sample_rate", [16_000, 24_000, 44_100, 48_000])
def test_what_is_added_is_as_long_as_the_speech_and_well_below_it(
    mark: Watermark, sample_rate: int
) -> None:
    speech = read_audio(QUESTIONS[1], sample_rate).pcm
    added = mark.mark(speech, sample_rate) - speech
    assert added.size == speech.size
    below_db = 10 * np.log10(np.sum(speech**2) / np.sum(added**2))
    assert 12 < below_db < 25
    spectrum = np.abs(np.fft.rfft(added)) ** 2
    above = np.fft.rfftfreq(added.size, 1 / sample_rate) > 2100
    assert spectrum[above].sum() < 1e-3 * spectrum.sum()


@needs_weights
def test_a_long_recording_is_marked_as_if_it_were_marked_at_once(
    mark: Watermark, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = np.concatenate([read_audio(path, 32_000).pcm for path in QUESTIONS])
    at_once = mark.mark(speech, 32_000)
    monkeypatch.setattr(watermark, "_BLOCK_FRAMES", 150)
    in_blocks = mark.mark(speech, 32_000)
    assert np.abs(in_blocks - at_once).max() < 1e-5


@needs_weights
@pytest.mark.parametrize("samples", [0, 1, 500, 2400])
def test_next_to_nothing_and_silence_stay_what_they_are(mark: Watermark, samples: int) -> None:
    silence = np.zeros(samples, np.float32)
    assert np.allclose(mark.mark(silence, 24_000), silence, atol=1e-6)
    assert mark.confidence(silence, 24_000) == 0.0


@needs_weights
def test_another_file_in_place_of_the_weights_is_never_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watermark, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="force-reinstall resemble-perth"):
        Watermark()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark, "PACKAGE", "no-such-package")
    with pytest.raises(ConfigError, match=r"pip install 'backtalk\[watermark\]'"):
        Watermark()
