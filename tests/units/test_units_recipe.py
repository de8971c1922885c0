"""The recipe `units`: it finds clusters, resumes exactly, and ends in a tokenizer."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from safetensors.torch import load_file  # noqa: E402

from backtalk.audio.files import write_wav  # noqa: E402
from backtalk.codecs.units import units_file  # noqa: E402
from backtalk.codecs.units.units_file import load_unit_tokenizer  # noqa: E402
from backtalk.train.harness import Hardware, train  # noqa: E402
from backtalk.train.losses_file import read_losses  # noqa: E402
from backtalk.train.recipes import units  # noqa: E402
from backtalk.train.recipes.table import RECIPES  # noqa: E402
from backtalk.train.unit_purity import purity  # noqa: E402
from killed_run import Watching  # noqa: E402
from units.fake_encoder import FakeEncoder, noise  # noqa: E402

RECIPE = RECIPES["units"]
SMALL = (
    *("encoder=fake", "layer=1", "block=4", "before=3", "after=2", "cardinality=8", "hours=0.01"),
    *("steps=6", "checkpoint_every=2"),
)


@pytest.fixture(autouse=True)
def fake_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (units, units_file):
        monkeypatch.setattr(module, "load_encoder", lambda store, name, layer: FakeEncoder())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "speech"
    folder.mkdir()
    for number in range(3):
        write_wav(folder / f"{number}.wav", noise(32_000, seed=number), 16_000)
    return folder


def run(data: Path, out: Path, watching: Watching) -> None:
    settings = RECIPE.read_settings(SMALL)
    train(RECIPE, settings, data, out, Hardware("cpu"), watching)


def test_states_come_nearer_to_their_clusters_and_the_file_is_a_tokenizer(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(data, out, Watching())
    distances = [line["distance"] for line in read_losses(out)]
    assert distances[-1] < distances[0]
    tokenizer = load_unit_tokenizer(out / "model.safetensors")
    assert tokenizer.unit_rate == 25.0
    found = tokenizer.encode(noise(64_000))
    assert len(np.unique(found)) > 4
    assert found.max() < 8


def test_a_killed_run_goes_on_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(data, whole, Watching())
    with pytest.raises(InterruptedError):
        run(data, killed, Watching(killed_at=3))
    again = Watching()
    run(data, killed, again)
    assert again.first_step == 2
    mine, theirs = (load_file(out / "model.safetensors") for out in (killed, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_units_that_are_the_phones_say_all_about_them() -> None:
    labels = ["a", "b", "a", "c"] * 5
    perfect = purity(np.array([3, 1, 3, 0] * 5), labels)
    assert (perfect.phone, perfect.shared) == (1.0, pytest.approx(1.0))
    blind = purity(np.zeros(20, np.int64), labels)
    assert (blind.phone, blind.shared) == (0.5, pytest.approx(0.0))


def test_every_setting_is_in_the_recipes_file() -> None:
    text = Path(units.__file__).with_suffix(".yaml").read_text()
    for field in fields(units.Settings):
        assert f"\n{field.name}: " in text, field.name
