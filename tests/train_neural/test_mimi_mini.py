"""mimi-mini: it learns, resumes exactly, and what it ends in is a Mimi that streams."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from safetensors.torch import load_file  # noqa: E402

from backtalk.audio.files import write_wav  # noqa: E402
from backtalk.codecs.mimi.codes_identity import codes_sha256  # noqa: E402
from backtalk.codecs.mimi.load import load_mimi  # noqa: E402
from backtalk.codecs.mimi.mimi_codec import MimiCodec  # noqa: E402
from backtalk.errors import ConfigError  # noqa: E402
from backtalk.stream.check import check_schedules  # noqa: E402
from backtalk.train.harness import Hardware, train  # noqa: E402
from backtalk.train.losses_file import read_losses  # noqa: E402
from backtalk.train.recipes import mimi_mini  # noqa: E402
from backtalk.train.recipes.table import RECIPES  # noqa: E402
from backtalk.train.shipped_weights import SIZE_LIMIT_BYTES, check_size  # noqa: E402
from killed_run import Watching  # noqa: E402

RECIPE = RECIPES["mimi-mini"]
RATE = 24_000
SMALL = (
    *(
        "strides=6,8",
        "channels=4",
        "width=16",
        "layers=1",
        "heads=2",
        "hidden=32",
        "codebook_dim=8",
    ),
    *("cardinality=16", "codebooks=4", "batch_size=2", "window_frames=4", "hours=0.01"),
    *(
        "judge_filters=2",
        "judge_from_step=5",
        "judge_batch_size=1",
        "judge_frames=2",
        "quantize_from_step=3",
        "steps=8",
    ),
    *("log_every=1", "window=8"),
    *("score_every=8", "checkpoint_every=3", "workers=0", "warm_up_steps=2"),
)


class FakeTeacher:
    """States that depend on the sound of the frame."""

    width = 6

    def states(self, pcm: np.ndarray) -> np.ndarray:
        frames = pcm.reshape(len(pcm), -1, self.width, 1920 // self.width)
        return np.abs(frames).mean(-1).astype(np.float32) + 0.01


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chirps and noise: three recordings of a second."""
    folder = tmp_path_factory.mktemp("speech")
    time_s = np.arange(RATE) / RATE
    for number in range(3):
        tone = np.sin(2 * np.pi * (200 + 150 * number + 300 * time_s) * time_s)
        noise = np.random.default_rng(number).normal(size=RATE)
        write_wav(folder / f"{number}.wav", (0.3 * tone + 0.02 * noise).astype(np.float32), RATE)
    return folder


def run(data: Path, out: Path, watching: Watching, *changes: str, precision: Any) -> Any:
    settings = RECIPE.read_settings([*SMALL, *changes])
    return train(RECIPE, settings, data, out, Hardware("cpu", 1, precision), watching)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        use_fake_teacher(patch)
        run(data, out, Watching(), precision="32-true")
    return out


def use_fake_teacher(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mimi_mini, "WhisperTeacher", lambda path, rate: FakeTeacher())
    patch.setattr(mimi_mini.ModelStore, "require", lambda self, name: Path("nowhere"))


def test_every_loss_is_in_the_curves_from_its_step_on(whole: Path) -> None:
    lines = read_losses(whole)
    assert [line["step"] for line in lines] == list(range(8))
    assert {"mel", "meaning", "commitment", "gradient"} <= lines[0].keys()
    assert lines[2]["commitment"] == 0
    assert lines[3]["commitment"] > 0
    assert "adversarial" not in lines[4]
    assert {"mel", "adversarial", "features", "judges"} <= lines[5].keys()
    assert not {"meaning", "commitment"} & lines[5].keys()
    assert {"score/mel_1", "score/mel_2", "score/mel_4", "score/codes_in_use"} <= lines[7].keys()


@pytest.mark.parametrize("killed_at", [5, 7])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    data: Path,
    whole: Path,
    tmp_path: Path,
    killed_at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_fake_teacher(monkeypatch)
    with pytest.raises(InterruptedError):
        run(data, tmp_path, Watching(killed_at), precision="32-true")
    again = Watching()
    run(data, tmp_path, again, precision="32-true")
    assert again.first_step == (killed_at - 1) // 3 * 3
    assert read_losses(tmp_path) == read_losses(whole)
    mine, theirs = (load_file(out / "model.safetensors") for out in (tmp_path, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_half_precision_gives_finite_losses_near_those_of_full(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fake_teacher(monkeypatch)
    run(data, tmp_path, Watching(), precision="bf16-mixed")
    for mine, theirs in zip(read_losses(tmp_path), read_losses(whole), strict=True):
        assert mine["mel"] == pytest.approx(theirs["mel"], rel=0.1)


def test_what_is_exported_loads_with_its_sizes_and_streams(whole: Path) -> None:
    model = load_mimi(whole / "model.safetensors")
    assert model.config.channels == 4
    codec = MimiCodec(model, 4)
    pcm = (0.1 * np.random.default_rng(0).normal(size=5 * 1920)).astype(np.float32)
    codes = codec.encode(pcm)
    assert codes.shape == (4, 5)
    assert len(np.unique(codes)) > 1
    check_schedules(codec.open_encoder, pcm, offline=codes, schedules=[[1000] * 9 + [600], [9600]])
    with torch.inference_mode():
        offline = model.decoder(model.quantizer.decode(torch.from_numpy(codes)[None]))[0].numpy()
    sound = codec.decode(codes)
    np.testing.assert_allclose(sound, offline, atol=1e-4 * np.abs(offline).max())


def test_in_the_second_stage_codes_stand_still_and_sound_does_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fake_teacher(monkeypatch)
    models = []
    for steps in (6, 8):
        run(data, tmp_path / str(steps), Watching(), f"steps={steps}", precision="32-true")
        models.append(load_mimi(tmp_path / str(steps) / "model.safetensors"))
    before, after = models
    assert codes_sha256(before) == codes_sha256(after)
    assert not torch.equal(before.decoder.upsample.taps, after.decoder.upsample.taps)


def test_a_few_more_steps_bring_the_sound_nearer(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fake_teacher(monkeypatch)
    changes = ("steps=60", "judge_from_step=60", "quantize_from_step=30", "learning_rate=0.003")
    run(data, tmp_path, Watching(), *changes, "score_every=60", precision="32-true")
    mel = [line["mel"] for line in read_losses(tmp_path)]
    assert np.mean(mel[-5:]) < 0.75 * np.mean(mel[:5])


def test_the_recipe_as_it_is_shipped_fits_the_size_limit() -> None:
    settings = RECIPE.read_settings()
    assert isinstance(settings, mimi_mini.Settings)
    config = settings.mimi
    assert (config.frame_rate, config.sample_rate) == (12.5, 24_000)
    with torch.device("meta"):
        model = mimi_mini.MimiModel(config)
    tensors = {name: tensor.half() for name, tensor in mimi_mini.mimi_tensors(model).items()}
    assert check_size(tensors) < SIZE_LIMIT_BYTES


def test_strides_that_make_another_frame_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make frames of 60 ms; they must be 80 ms"):
        run(data, tmp_path, Watching(), "strides=6,6", precision="32-true")


def test_every_setting_is_in_the_recipes_file() -> None:
    text = Path(mimi_mini.__file__).with_suffix(".yaml").read_text()
    for field in fields(mimi_mini.Settings):
        assert f"\n{field.name}: " in text, field.name
