"""`bench rvq`: what is counted, on a clock of the test's own, and the whole on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backtalk.bench.rvq import Spoken, rvq_row, speak_timed


def test_underruns_are_the_times_the_listener_waits() -> None:
    spoken = Spoken([100.0, 150.0, 400.0, 420.0], [80.0, 80.0, 80.0, 80.0], 0.0)
    assert spoken.underruns_ms() == [140.0]
    assert spoken.rtf == 420 / 320
    assert spoken.gaps_ms == [50.0, 250.0, 20.0]


def test_a_row_has_medians_over_sentences_and_all_gaps() -> None:
    row = rvq_row(8, [Spoken([10.0, 20.0], [80.0, 80.0], 5.0), Spoken([30.0], [80.0], 7.0)])
    assert row["first_chunk_ms"] == 20.0
    assert row["inter_chunk_ms_max"] == 10.0
    assert row["underruns"] == 0
    assert row["wada_snr_db"] == 6.0


def test_pieces_are_timed_from_the_text_on() -> None:
    now = iter([1.0, 1.5, 1.75])
    pieces = [np.zeros(1920, np.float32)] * 2
    spoken = speak_timed(lambda: iter(pieces), lambda: next(now))
    assert spoken.at_ms == [500.0, 750.0]
    assert spoken.audio_ms == [80.0, 80.0]


def test_the_command_measures_a_tiny_model_and_writes_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from backtalk.cli.bench_rvq import rvq

    out = tmp_path / "rvq"
    rvq(
        depths="8,2,auto",
        random_weights=0,
        size="tiny",
        weights="float32",
        device="cpu",
        threads=1,
        text="Hi.",
        out=out,
        json=True,
    )
    found = json.loads(capsys.readouterr().out)
    assert [row["depth"] for row in found["rows"]] == [8, 2, "auto"]
    assert all(row["rtf"] > 0 and row["first_chunk_ms"] > 0 for row in found["rows"])
    assert "random weights" in found["note"]
    assert json.loads(out.with_suffix(".json").read_text())["paper"][0]["first_chunk_ms"] == 1381.9
    assert out.with_suffix(".png").stat().st_size > 10_000
