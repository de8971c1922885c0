"""Judging a codec: the recordings stand beside it, and a better copy is judged better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from backtalk.audio.files import read_audio  # noqa: E402
from backtalk.bench.codec_quality import Held, load_ears, quality_rows  # noqa: E402
from backtalk.bench.codec_quality_report import draw_quality, quality_table  # noqa: E402
from backtalk.models.store import ModelStore  # noqa: E402

QUESTIONS = Path(__file__).parents[2] / "benchmarks" / "questions" / "plain"


class Noisy:
    """A codec whose every code takes away half of the noise that it adds."""

    cardinality, frame_rate = 1024, 12.5

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []

    def encode(self, pcm: np.ndarray, sample_rate: int) -> np.ndarray:
        assert sample_rate == 16_000
        self.kept.append(pcm)
        return np.full((3, 1), len(self.kept) - 1)

    def decode(self, codes: np.ndarray, sample_rate: int) -> np.ndarray:
        pcm = self.kept[int(codes[0, 0])]
        noise = np.random.default_rng(0).standard_normal(pcm.size).astype(np.float32)
        return pcm + 0.5 * 8.0 ** -len(codes) * noise


@pytest.mark.models
def test_more_codes_are_judged_better_and_the_recordings_best(tmp_path: Path) -> None:
    held = [
        Held(words, is_answer, read_audio(next(QUESTIONS.glob(f"{start}-*.flac"))).pcm, 16_000)
        for start, words, is_answer in (
            ("03", "What is the capital of France?", False),
            ("01", "What is your name?", True),
        )
    ]
    judged: list[None] = []
    ears = load_ears(ModelStore.default())
    whole, rows = quality_rows(Noisy(), held, (1, 3), ears, lambda: judged.append(None))  # type: ignore[arg-type]
    assert len(judged) == 6
    worse, better = rows
    assert (worse["bits_per_s"], better["bits_per_s"]) == (125, 375)
    for name in ("dnsmos", "similarity", "stoi"):
        assert worse[name] < better[name] <= whole[name] + 0.05
    assert whole["wer"] == whole["wer_questions"] == whole["wer_answers"] == 0.0
    assert worse["wer"] == pytest.approx(
        (6 * worse["wer_questions"] + 4 * worse["wer_answers"]) / 10, abs=1e-3
    )
    assert whole["stoi"] == pytest.approx(1.0, abs=1e-3)
    report = {"codec": "noisy", "recordings": whole, "rows": rows}
    assert quality_table(report).row_count == 3
    draw_quality(tmp_path / "quality.png", report)
    assert (tmp_path / "quality.png").stat().st_size > 10_000
