"""csm-mini: it learns, resumes exactly, and what it ends in speaks through the plug-in."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from safetensors.torch import load_file  # noqa: E402

from backtalk.csm.csm_mini import build_csm_mini  # noqa: E402
from backtalk.csm.new_csm import new_csm  # noqa: E402
from backtalk.csm.save import csm_tensors  # noqa: E402
from backtalk.stream.cancel import CancelToken  # noqa: E402
from backtalk.train.harness import Hardware, train  # noqa: E402
from backtalk.train.losses_file import read_losses  # noqa: E402
from backtalk.train.minitalk.corpus import begin_corpus  # noqa: E402
from backtalk.train.minitalk.plan import MiniTalkSettings  # noqa: E402
from backtalk.train.recipes import csm_mini  # noqa: E402
from backtalk.train.recipes.table import RECIPES  # noqa: E402
from backtalk.train.shipped_weights import SIZE_LIMIT_BYTES, check_size  # noqa: E402
from backtalk.train.training_error import TrainingError  # noqa: E402
from csm_mini.small_csm import write_codec  # noqa: E402
from killed_run import Watching  # noqa: E402
from train.fake_shards import make_fake  # noqa: E402

RECIPE = RECIPES["csm-mini"]
SMALL = (
    *("layers=2", "width=32", "hidden=48", "heads=2", "kv_heads=1", "max_positions=400"),
    *("depth_layers=1", "depth_width=16", "depth_hidden=24", "depth_heads=2", "depth_kv_heads=1"),
    *("codebooks=3", "batch_size=2", "positions=160", "hours=0.01", "steps=8", "log_every=1"),
    *("score_every=8", "checkpoint_every=3", "workers=0", "warm_up_steps=2", "readings=0"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of a fake voice, 50 ms for every word."""
    corpus = begin_corpus(tmp_path_factory.mktemp("corpus"), MiniTalkSettings(hours=0.05))
    for plan in corpus.plans:
        make_fake(plan, corpus.path_of(plan))
    return corpus.folder


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("codec") / "model.safetensors"
    write_codec(path)
    return path


def run(data: Path, codec: Path, out: Path, watching: Watching, *changes: str) -> Any:
    settings = RECIPE.read_settings([*SMALL, f"codec={codec}", *changes])
    return train(RECIPE, settings, data, out, Hardware("cpu", 1, "32-true"), watching)


@pytest.fixture(scope="module")
def whole(data: Path, codec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    out = tmp_path_factory.mktemp("whole")
    run(data, codec, out, Watching())
    return out


def test_losses_and_scores_of_every_depth_are_in_the_curves(whole: Path) -> None:
    lines = read_losses(whole)
    assert [line["step"] for line in lines] == list(range(8))
    assert {"first", "later", "gradient"} <= lines[0].keys()
    assert lines[0]["first"] == pytest.approx(np.log(32), rel=0.15)
    scores = {"first_at_1", "first_at_2", "first_at_3", "codebook_1", "codebook_2"}
    assert {f"score/{name}" for name in scores} <= lines[7].keys()


@pytest.mark.parametrize("killed_at", [5, 7])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    data: Path, codec: Path, whole: Path, tmp_path: Path, killed_at: int
) -> None:
    with pytest.raises(InterruptedError):
        run(data, codec, tmp_path, Watching(killed_at))
    again = Watching()
    run(data, codec, tmp_path, again)
    assert again.first_step == (killed_at - 1) // 3 * 3
    assert read_losses(tmp_path) == read_losses(whole)
    mine, theirs = (load_file(out / "model.safetensors") for out in (tmp_path, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("rvq", [1, 3, "auto"])
def test_what_it_ends_in_speaks_at_any_depth(whole: Path, codec: Path, rvq: int | str) -> None:
    model = str(whole / "model.safetensors")
    voice = build_csm_mini(model=model, codec=str(codec), rvq=rvq)
    spoken = list(voice.speak("Hi.", CancelToken()))
    assert spoken[0].text == "Hi."
    assert sum(piece.pcm.size for piece in spoken) >= 1920


def test_a_run_begun_with_another_codec_is_refused(data: Path, codec: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        run(data, codec, tmp_path, Watching(4))
    write_codec(codec.with_name("other"), seed=1)
    with pytest.raises(TrainingError, match="other settings"):
        run(data, codec.with_name("other"), tmp_path, Watching())
    (tmp_path / "checkpoint.pt").unlink()
    with pytest.raises(TrainingError, match="another codec"):
        run(data, codec.with_name("other"), tmp_path, Watching())


def test_a_sentence_longer_than_a_sequence_is_named(
    data: Path, codec: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="larger value for positions"):
        run(data, codec, tmp_path, Watching(), "positions=20")


def test_the_recipe_as_it_is_shipped_fits_the_size_limit() -> None:
    settings = RECIPE.read_settings()
    assert isinstance(settings, csm_mini.Settings)
    tensors = {
        name: tensor.half() for name, tensor in csm_tensors(new_csm(settings.csm(1024))).items()
    }
    assert check_size(tensors) < SIZE_LIMIT_BYTES


def test_every_setting_is_in_the_recipes_file() -> None:
    text = Path(csm_mini.__file__).with_suffix(".yaml").read_text()
    for field in fields(csm_mini.Settings):
        assert f"\n{field.name}: " in text, field.name
