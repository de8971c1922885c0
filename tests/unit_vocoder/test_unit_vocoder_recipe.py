"""The recipe `unit-vocoder`: it learns, resumes exactly, and ends in a vocoder that streams."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from safetensors.torch import load_file  # noqa: E402

from backtalk.audio.files import write_wav  # noqa: E402
from backtalk.codecs.unit_vocoder.checkpoint import load_unit_vocoder  # noqa: E402
from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig  # noqa: E402
from backtalk.codecs.unit_vocoder.unit_vocoder import UnitVocoder  # noqa: E402
from backtalk.codecs.unit_vocoder.unit_vocoder_model import (  # noqa: E402
    NOTHING,
    UnitVocoderModel,
)
from backtalk.errors import ConfigError  # noqa: E402
from backtalk.nn.waveform_discriminators import WaveformDiscriminators  # noqa: E402
from backtalk.stream.check import check_schedules  # noqa: E402
from backtalk.train.harness import Hardware, train  # noqa: E402
from backtalk.train.losses_file import read_losses  # noqa: E402
from backtalk.train.recipes import unit_vocoder  # noqa: E402
from backtalk.train.recipes.table import RECIPES  # noqa: E402
from backtalk.train.shipped_weights import SIZE_LIMIT_BYTES, check_size  # noqa: E402
from backtalk.train.unit_speech import open_unit_speech  # noqa: E402
from killed_run import Watching  # noqa: E402
from units.fake_encoder import fake_tokenizer  # noqa: E402

RECIPE = RECIPES["unit-vocoder"]
RATE = 16_000
SMALL = (
    *("channels=8", "embedding=4", "duration_width=4", "batch_size=2", "segment_units=4"),
    *("runs_units=12", "hours=0.01", "judge_divisor=32", "judge_scales=1"),
    *("judge_from_step=5", "steps=8"),
    *("log_every=1", "checkpoint_every=3", "warm_up_steps=2", "rates=8,5", "dilations=1,1"),
)


@pytest.fixture(autouse=True)
def fake_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_vocoder, "load_unit_tokenizer", lambda path: fake_tokenizer())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that change about twice a second."""
    folder = tmp_path_factory.mktemp("speech")
    for number in range(3):
        random = np.random.default_rng(number)
        levels = np.repeat(random.uniform(0.02, 0.3, 8), RATE // 2)
        time_s = np.arange(4 * RATE) / RATE
        tone = np.sin(2 * np.pi * 150 * (1 + number) * time_s)
        pcm = levels * (tone + 0.3 * random.normal(size=4 * RATE))
        write_wav(folder / f"{number}.wav", pcm.astype(np.float32), RATE)
    return folder


def run(data: Path, out: Path, watching: Watching, *changes: str) -> None:
    settings = RECIPE.read_settings([*SMALL, *changes])
    train(RECIPE, settings, data, out, Hardware("cpu"), watching)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unit_vocoder, "load_unit_tokenizer", lambda path: fake_tokenizer())
        run(data, out, Watching())
    return out


def test_every_loss_is_in_the_curves_from_its_step_on(whole: Path) -> None:
    lines = read_losses(whole)
    assert {"mel", "duration", "gradient"} <= lines[0].keys()
    assert "adversarial" not in lines[4]
    assert {"adversarial", "features", "judges"} <= lines[5].keys()


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedError):
        run(data, tmp_path, Watching(killed_at=7))
    again = Watching()
    run(data, tmp_path, again)
    assert again.first_step == 6
    mine, theirs = (load_file(out / "model.safetensors") for out in (tmp_path, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_what_is_exported_loads_with_its_sizes_and_streams(whole: Path) -> None:
    model = load_unit_vocoder(whole / "model.safetensors")
    assert model.config.hop_samples == 640
    vocoder = UnitVocoder(model)
    units = np.random.default_rng(0).integers(0, 16, 20)
    sound = vocoder.decode(units)
    assert len(sound) == 20 * 640
    check_schedules(vocoder.open_stream, units, offline=sound, atol=1e-4)


def test_a_few_more_steps_bring_the_sound_nearer(data: Path, tmp_path: Path) -> None:
    changes = ("steps=60", "judge_from_step=1000", "learning_rate=0.003")
    run(data, tmp_path, Watching(), *changes)
    mel = [line["mel"] for line in read_losses(tmp_path)]
    assert np.mean(mel[-5:]) < 0.75 * np.mean(mel[:5])
    durations = [line["duration"] for line in read_losses(tmp_path)]
    assert np.mean(durations[-5:]) < np.mean(durations[:5])


def test_a_vocoder_can_be_gone_on_from(data: Path, whole: Path, tmp_path: Path) -> None:
    begun = f"begin_with={whole / 'model.safetensors'}"
    changes = ("learning_rate=0.0", "steps=1", "judge_from_step=0")
    run(data, tmp_path, Watching(), begun, *changes)
    mine, theirs = (load_file(out / "model.safetensors") for out in (tmp_path, whole))
    for name, tensor in theirs.items():
        assert torch.allclose(mine[name], tensor, rtol=1e-3, atol=1e-6)
    assert "begun with `model.safetensors`" in (tmp_path / "README.md").read_text()
    with pytest.raises(ConfigError, match="vocoder of other sizes"):
        run(data, tmp_path / "wider", Watching(), begun, "channels=16")


def test_sizes_that_do_not_fit_the_units_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make 320 samples of a unit, but it has 640"):
        run(data, tmp_path, Watching(), "spectrum_hop=8")
    with pytest.raises(ConfigError, match="rates is"):
        run(data, tmp_path, Watching(), "rates=8;5")


def test_pieces_have_their_own_neighbours_and_sound(data: Path, tmp_path: Path) -> None:
    speech, _ = open_unit_speech(data, tmp_path, fake_tokenizer(), 0.01, 4)
    first = int(speech.starts[1])
    units, pcm = speech.piece(first, 4, 3)
    assert units[:3].tolist() == [NOTHING] * 3
    assert units[3:].tolist() == speech.units[first : first + 7].tolist()
    assert np.array_equal(np.round(pcm * 32768), speech.pcm[first * 640 : (first + 4) * 640])
    drawn, sounds = speech.draw(50, 4, 3, np.random.default_rng(0))
    assert np.all(drawn[:, 3:7] != NOTHING)
    assert sounds.shape == (50, 4 * 640)


def test_runs_are_known_unless_their_recording_was_cut(data: Path, tmp_path: Path) -> None:
    speech, _ = open_unit_speech(data, tmp_path, fake_tokenizer(), 0.01, 4)
    runs, lengths = speech.draw_runs(5, 1000, np.random.default_rng(0))
    assert set(lengths.sum(1)) <= set(np.diff(speech.starts))  # all of them
    assert np.all((runs == NOTHING) == (lengths == 0))
    runs, lengths = speech.draw_runs(20, 12, np.random.default_rng(0))
    assert np.any((runs != NOTHING) & (lengths == 0))
    assert np.all(lengths.sum(1) <= 12)


def test_the_published_judges_have_as_many_weights_as_published() -> None:
    judges = WaveformDiscriminators(1, 3)
    assert sum(w.numel() for w in judges.parameters()) == pytest.approx(70.7e6, rel=2e-3)
    small = WaveformDiscriminators(16, 2)
    seen = small(torch.randn(2, 1001))
    assert len(seen) == 7
    assert [len(layers) for layers in seen] == [6] * 5 + [8] * 2


def test_the_recipe_as_it_is_shipped_fits_the_size_limit() -> None:
    settings = RECIPE.read_settings()
    assert isinstance(settings, unit_vocoder.Settings)
    config: UnitVocoderConfig = settings.vocoder(500)
    assert config.unit_rate == 25.0
    model = UnitVocoderModel(config)
    tensors = {name: weight.half() for name, weight in model.named_parameters()}
    assert check_size(tensors) < SIZE_LIMIT_BYTES


def test_every_setting_is_in_the_recipes_file() -> None:
    text = Path(unit_vocoder.__file__).with_suffix(".yaml").read_text()
    for field in fields(unit_vocoder.Settings):
        assert f"\n{field.name}: " in text, field.name
