"""What was trained here and is part of the package: each with its card, and each does its work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backtalk.audio.files import read_audio
from backtalk.errors import ModelError
from backtalk.models.miniatures import FOLDER, miniature_path
from backtalk.train.shipped_weights import SIZE_LIMIT_BYTES

NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
QUESTIONS = Path(__file__).parents[2] / "benchmarks" / "questions" / "plain"


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_has_a_card_and_curves_and_is_small(name: str) -> None:
    card = (FOLDER / f"{name}.md").read_text()
    assert card.startswith(f"# {name}\n")
    assert f"]({name}.png)" in card
    assert (FOLDER / f"{name}.png").is_file()
    assert miniature_path(name).stat().st_size <= SIZE_LIMIT_BYTES


def test_one_that_is_not_there_says_how_to_train_it() -> None:
    with pytest.raises(ModelError, match="backtalk train no-such-mini"):
        miniature_path("no-such-mini")


@pytest.mark.models
def test_the_units_follow_the_speech() -> None:
    pytest.importorskip("torch")
    from backtalk.codecs.units.units_file import load_unit_tokenizer

    tokenizer = load_unit_tokenizer(miniature_path("units"))
    pcm = read_audio(next(QUESTIONS.glob("03-*.flac")), tokenizer.sample_rate).pcm
    units = tokenizer.encode(pcm)
    assert abs(len(units) - pcm.size / tokenizer.sample_rate * tokenizer.unit_rate) <= 1
    assert len(np.unique(units)) > len(units) // 4  # speech is many sounds
    louder = tokenizer.encode(np.clip(1.5 * pcm, -1, 1).astype(np.float32))
    assert np.mean(units == louder) > 0.6  # and they are the same sounds when it is louder
