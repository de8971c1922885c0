"""llvc: it learns, resumes exactly, and what it ends in converts, in chunks of every size."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from safetensors.torch import load_file  # noqa: E402

from backtalk.audio.files import read_audio  # noqa: E402
from backtalk.errors import ConfigError  # noqa: E402
from backtalk.llvc.engine import LlvcEngine  # noqa: E402
from backtalk.llvc.network import LlvcNetwork  # noqa: E402
from backtalk.llvc.network_weights import network_of, voice_of  # noqa: E402
from backtalk.llvc.random_voice import random_voice  # noqa: E402
from backtalk.llvc.stream import convert  # noqa: E402
from backtalk.llvc.voice_file import read_voice  # noqa: E402
from backtalk.train.conversion.pair_files import open_pairs  # noqa: E402
from backtalk.train.harness import Hardware, train  # noqa: E402
from backtalk.train.losses_file import read_losses  # noqa: E402
from backtalk.train.recipes import llvc  # noqa: E402
from backtalk.train.recipes.table import RECIPES  # noqa: E402
from backtalk.train.shipped_weights import SIZE_LIMIT_BYTES  # noqa: E402
from backtalk.train.training_error import TrainingError  # noqa: E402
from killed_run import Watching  # noqa: E402
from train_llvc.tone_pairs import TonalEars, make_tones, tone  # noqa: E402

RECIPE = RECIPES["llvc"]
SMALL = (
    *("width=32", "decoder_width=16", "encoder_layers=3", "batch_size=2", "window_s=0.25"),
    *("judge_divisor=256", "judge_slice=2048", "judge_from_step=4", "scored_pairs=2"),
    *("steps=8", "log_every=1", "score_every=8", "checkpoint_every=3", "workers=0"),
    *("warm_up_steps=2",),
)


@pytest.fixture(autouse=True)
def _tonal_ears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvc, "RealEars", lambda store: TonalEars())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tones(tmp_path_factory.mktemp("pairs"))


def run(data: Path, out: Path, watching: Watching, *changes: str) -> Path:
    settings = RECIPE.read_settings([*SMALL, *changes])
    return train(RECIPE, settings, data, out, Hardware("cpu", 1), watching)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llvc, "RealEars", lambda store: TonalEars())
        run(data, out, Watching())
    return out


def test_losses_and_scores_are_in_the_curves(whole: Path) -> None:
    lines = read_losses(whole)
    assert [line["step"] for line in lines] == list(range(8))
    assert "adversarial" not in lines[3]
    assert {"mel", "adversarial", "features", "judges", "gradient"} <= lines[4].keys()
    scores = {f"score/mel_{frames}" for frames in llvc.CHUNKS}
    assert scores | {"score/wer", "score/to_target", "score/to_source"} <= lines[7].keys()
    assert "to_target" in (whole / "README.md").read_text()


@pytest.mark.parametrize("killed_at", [5, 7])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    data: Path, whole: Path, tmp_path: Path, killed_at: int
) -> None:
    with pytest.raises(InterruptedError):
        run(data, tmp_path, Watching(killed_at))
    again = Watching()
    run(data, tmp_path, again)
    assert again.first_step == (killed_at - 1) // 3 * 3
    assert read_losses(tmp_path) == read_losses(whole)
    mine, theirs = (load_file(out / "model.safetensors") for out in (tmp_path, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_few_more_steps_bring_the_sound_nearer(data: Path, tmp_path: Path) -> None:
    changes = ("steps=60", "judge_from_step=1000", "learning_rate=0.003", "score_every=60")
    run(data, tmp_path, Watching(), *changes, "disguised_share=0.0")
    mel = [line["mel"] for line in read_losses(tmp_path)]
    assert np.mean(mel[-5:]) < 0.75 * np.mean(mel[:5])


def test_a_voice_can_be_gone_on_from(data: Path, whole: Path, tmp_path: Path) -> None:
    begun = f"begin_with={whole / 'model.safetensors'}"
    run(data, tmp_path, Watching(), begun, "learning_rate=0.0", "steps=1", "judge_from_step=9")
    mine, theirs = (load_file(out / "model.safetensors") for out in (tmp_path, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert "begun with `model.safetensors`" in (tmp_path / "README.md").read_text()
    with pytest.raises(ConfigError, match="voice of width 32"):
        run(data, tmp_path / "wider", Watching(), begun, "width=64")


def test_it_learns_from_as_much_as_is_wanted_and_from_whom(data: Path, tmp_path: Path) -> None:
    pairs = open_pairs(data, "train")
    assert 0 < pairs.some(0.002, "low").hours < 0.0025 < pairs.hours
    assert pairs.some(100.0, "").hours == pairs.some(100.0, "low").hours == pairs.hours
    with pytest.raises(TrainingError, match="heard from 'high', only from low"):
        run(data, tmp_path, Watching(), "heard=high")


@pytest.mark.parametrize("frames", llvc.CHUNKS)
def test_what_is_exported_converts_in_chunks_of_every_size(whole: Path, frames: int) -> None:
    voice = read_voice(whole / "model.safetensors")
    assert (voice.config.width, voice.config.chunk_frames) == (32, 13)
    voice = voice.in_chunks(frames)
    pcm = tone(120, 0.3)
    made = convert(LlvcEngine(voice), pcm)
    hop = voice.config.hop
    late = np.pad(pcm, (hop, 64 * hop))  # a stream begins with a frame of silence, and ends in it
    with torch.inference_mode():
        offline = network_of(voice)(torch.from_numpy(late)[None])[0, hop : hop + len(pcm)].numpy()
    assert np.abs(offline).max() > 1e-3
    np.testing.assert_allclose(made, offline, atol=1e-4 * np.abs(offline).max())


def test_the_size_of_the_chunk_changes_what_is_computed_and_no_weight() -> None:
    network = network_of(random_voice(0, llvc.LlvcConfig(width=32, decoder_width=16)))
    before = voice_of(network, "x").weights
    pcm = torch.from_numpy(tone(120, 0.3))[None]
    with torch.inference_mode():
        long = network(pcm)
        network.set_chunk(2)
        short = network(pcm)
        fresh = LlvcNetwork(network.config)
        fresh.load_state_dict(network.state_dict())
        same = fresh(pcm)
    assert not torch.allclose(long, short)
    torch.testing.assert_close(short, same)
    after = voice_of(network, "x").weights
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_samples_to_listen_to_lie_beside_the_checkpoint(whole: Path) -> None:
    files = sorted(path.name for path in (whole / "samples").iterdir())
    assert files == ["1.wav", "2.wav"]
    # Three times half a second, and two pauses of as much.
    assert len(read_audio(whole / "samples" / "1.wav").pcm) == 40_000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("decoder_width=24", "decoder_width is 24"),
        ("width=40", "width is 40"),
        ("window_s=0.05", "window_s is 0.05"),
    ],
)
def test_sizes_that_no_network_has_are_refused_before_the_training(
    change: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        RECIPE.read_settings([*SMALL, change])


@pytest.mark.parametrize("changes", [[], ["width=512", "decoder_width=256"]])
def test_the_shipped_and_the_published_sizes_fit_the_limit(changes: list[str]) -> None:
    settings = RECIPE.read_settings(changes)
    assert isinstance(settings, llvc.Settings)
    with torch.device("meta"):
        network = LlvcNetwork(settings.llvc)
    assert 2 * sum(weight.numel() for weight in network.parameters()) < SIZE_LIMIT_BYTES


def test_every_setting_is_in_the_recipes_file() -> None:
    text = Path(llvc.__file__).with_suffix(".yaml").read_text()
    for field in fields(llvc.Settings):
        assert f"\n{field.name}: " in text, field.name
