"""Units: the same for any chunks, and what a tokenizer on disk is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from backtalk.codecs.units import units_file  # noqa: E402
from backtalk.codecs.units.runs import from_runs, to_runs  # noqa: E402
from backtalk.codecs.units.units_file import (  # noqa: E402
    UnitStates,
    load_unit_tokenizer,
    units_metadata,
    units_tensors,
)
from backtalk.codecs.units.windows import Windows  # noqa: E402
from backtalk.errors import ConfigError, ModelError  # noqa: E402
from backtalk.stream.check import check_schedules  # noqa: E402
from units.fake_encoder import WIDTH, FakeEncoder, fake_tokenizer, noise  # noqa: E402

STATES = UnitStates("fake", 1, 2, 4, 3, 2)


@pytest.mark.parametrize("states_per_unit", [1, 2])
@pytest.mark.parametrize("samples", [1, 640, 8 * 640, 13 * 640 + 100])
def test_any_chunks_give_the_units_of_the_whole_recording(
    samples: int, states_per_unit: int
) -> None:
    tokenizer = fake_tokenizer(states_per_unit=states_per_unit)
    pcm = noise(samples)
    units = tokenizer.encode(pcm)
    assert len(units) == -(-samples // tokenizer.hop_samples)
    check_schedules(tokenizer.open_stream, pcm, offline=units)


def test_units_differ_from_place_to_place() -> None:
    assert len(np.unique(fake_tokenizer().encode(noise(40 * 640)))) > 5


def test_another_sample_rate_gives_units_for_the_same_time() -> None:
    tokenizer = fake_tokenizer()
    pcm = noise(24_000)
    units = tokenizer.encode(pcm, 24_000)
    assert len(units) == 25
    check_schedules(
        lambda: tokenizer.open_stream(24_000),
        pcm,
        offline=units,
        schedules=[[1000] * 24, [480] * 50],
    )


def test_units_are_ready_as_soon_as_what_follows_their_block_is_heard() -> None:
    tokenizer = fake_tokenizer(Windows(block=4, before=3, after=2))
    stream = tokenizer.open_stream()
    assert len(stream.push(noise(6 * 640 - 1))) == 0
    assert len(stream.push(noise(1))) == 4
    assert len(stream.push(noise(4 * 640))) == 4
    assert len(stream.flush()) == 2


def test_sound_changes_no_unit_outside_its_windows() -> None:
    tokenizer = fake_tokenizer(Windows(block=4, before=3, after=2))
    pcm = noise(20 * 640)
    louder = pcm.copy()
    louder[10 * 640 : 11 * 640] *= 10
    changed = np.flatnonzero(tokenizer.encode(pcm) != tokenizer.encode(louder))
    assert set(changed) <= set(range(8, 16))  # the blocks whose windows hold unit 10
    assert changed.size


def test_no_sound_has_no_units() -> None:
    units = fake_tokenizer().encode(np.zeros(0, np.float32))
    assert units.dtype == np.int64
    assert units.shape == (0,)


def test_windows_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="block must be 1"):
        Windows(0, 1, 1)


@pytest.mark.parametrize("units", [[], [3], [3, 3, 3], [1, 1, 2, 3, 3, 1]])
def test_runs_lose_nothing(units: list[int]) -> None:
    runs, lengths = to_runs(np.array(units, np.int64))
    assert np.all(lengths >= 1)
    assert np.all(np.diff(runs) != 0)
    np.testing.assert_array_equal(from_runs(runs, lengths), units)


@pytest.fixture
def encoder_in_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units_file, "load_encoder", lambda store, name, layer: FakeEncoder())


@pytest.mark.usefixtures("encoder_in_store")
def test_a_tokenizer_comes_back_from_its_file(tmp_path: Path) -> None:
    tokenizer = fake_tokenizer()
    path = tmp_path / "units.safetensors"
    save_file(units_tensors(tokenizer.clusters), path, units_metadata(STATES))
    found = load_unit_tokenizer(path)
    assert (found.cardinality, found.hop_samples, found.unit_rate) == (16, 640, 25.0)
    pcm = noise(9 * 640)
    np.testing.assert_array_equal(found.encode(pcm), tokenizer.encode(pcm))


@pytest.mark.usefixtures("encoder_in_store")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": None}, "lacks mean"),
        ({"mean": torch.zeros(WIDTH + 1)}, "mean has shape"),
        ({"centroids": torch.full((16, WIDTH), torch.nan)}, "NaN"),
        ({"more": torch.zeros(1)}, "has not: more"),
    ],
)
def test_tensors_of_something_else_are_refused(
    tmp_path: Path, change: dict[str, torch.Tensor | None], said: str
) -> None:
    tensors = units_tensors(fake_tokenizer().clusters) | change
    path = tmp_path / "units.safetensors"
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path, units_metadata(STATES))
    with pytest.raises(ModelError, match=said):
        load_unit_tokenizer(path)


@pytest.mark.parametrize("metadata", [{}, {"units": "[]"}, {"units": '{"encoder": "x"}'}])
def test_a_file_that_does_not_say_of_what_its_units_are_is_refused(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    path = tmp_path / "units.safetensors"
    save_file(units_tensors(fake_tokenizer().clusters), path, metadata)
    with pytest.raises(ModelError, match="does not say"):
        load_unit_tokenizer(path)
