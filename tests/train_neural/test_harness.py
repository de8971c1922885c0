"""Runs: resumed ones are as if never stopped, and what is wrong is said in one line."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from safetensors.torch import load_file, save_file  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from toy_recipe import Toy  # noqa: E402

from backtalk.errors import BacktalkError, ConfigError  # noqa: E402
from backtalk.train.checkpoint import CHECKPOINT  # noqa: E402
from backtalk.train.harness import Hardware, train  # noqa: E402
from backtalk.train.losses_file import LOSSES, read_losses  # noqa: E402
from backtalk.train.recipe import Recipe  # noqa: E402
from backtalk.train.shipped_weights import check_size  # noqa: E402
from backtalk.train.training import RunSettings  # noqa: E402
from backtalk.train.training_error import TrainingError  # noqa: E402

TOY = Recipe("toy", "Learns a line.", "toy_recipe")
CPU = Hardware("cpu")


class Watching:
    """Counts, and does something when a step is done."""

    def __init__(self, at: int = -1, action: Any = None) -> None:
        self.steps: list[int] = []
        self.at, self.action = at, action

    def begin(self, first_step: int, steps: int) -> None:
        self.first_step = first_step

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append(step)
        if step == self.at:
            self.action()


class KilledError(Exception):
    """What stands for a process that is no more."""


def killed() -> None:
    raise KilledError


def run(out: Path, watching: Watching | None = None, *changes: str, hardware: Any = CPU) -> Path:
    settings = TOY.read_settings(changes)
    return train(TOY, settings, Path("nowhere"), out, hardware, watching or Watching())


def line_of(error: pytest.ExceptionInfo[BacktalkError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_run_learns_and_leaves_weights_curves_and_a_card(tmp_path: Path) -> None:
    card = run(tmp_path, None, "steps=60")
    lines = read_losses(tmp_path)
    assert [line["step"] for line in lines] == list(range(60))
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert "score/off_by" in lines[5]
    assert load_file(tmp_path / "model.safetensors")["weight"].shape == (1, 3)
    assert (tmp_path / "losses.png").stat().st_size > 5000
    text = card.read_text()
    for part in ("# toy", "Learns a line.", "| steps | 60 |", "numbers", "off_by", "noise: 0.3"):
        assert part in text


def test_curves_are_in_tensorboard(tmp_path: Path) -> None:
    run(tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = {event.step: event.value for event in events.Scalars("loss")}
    expected = {line["step"]: line["loss"] for line in read_losses(tmp_path)}
    assert shown == pytest.approx(expected)


@pytest.mark.parametrize(("at", "workers"), [(2, 0), (4, 0), (7, 0), (11, 0), (7, 1)])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path, at: int, workers: int) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(whole, None, f"workers={workers}")
    with pytest.raises(KilledError):
        run(stopped, Watching(at, killed), f"workers={workers}")
    again = Watching()
    run(stopped, again, f"workers={workers}")
    assert again.first_step == (at - 1) // 4 * 4
    assert (stopped / LOSSES).read_text() == (whole / LOSSES).read_text()
    mine, theirs = (load_file(path / "model.safetensors") for path in (stopped, whole))
    assert torch.equal(mine["weight"], theirs["weight"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_ends_the_step_and_loses_none(tmp_path: Path, number: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Watching(7, lambda: os.kill(os.getpid(), number)))
    again = Watching()
    run(tmp_path, again)
    assert again.first_step == 7
    assert again.steps == list(range(8, 13))


def test_a_line_cut_short_by_a_kill_is_written_again(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(tmp_path, Watching(6, killed))
    with (tmp_path / LOSSES).open("a") as file:
        file.write('{"step": 6, "lo')
    run(tmp_path)
    lines = (tmp_path / LOSSES).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(12))


def test_a_finished_run_run_again_only_writes_its_results(tmp_path: Path) -> None:
    run(tmp_path)
    before = (tmp_path / LOSSES).read_text()
    again = Watching()
    run(tmp_path, again)
    assert again.steps == []
    assert (tmp_path / LOSSES).read_text() == before


def test_other_settings_do_not_go_on_with_a_run(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(TrainingError) as caught:
        run(tmp_path, None, "noise=0.5")
    assert "noise 0.3, now 0.5" in line_of(caught)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    other = Recipe("other", "Something else.", "toy_recipe")
    with pytest.raises(TrainingError) as caught:
        train(other, TOY.read_settings(), Path("nowhere"), tmp_path, CPU, Watching())
    assert "of recipe toy, not other" in line_of(caught)


@pytest.mark.parametrize("kept_bytes", [0, 10, 700])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, kept_bytes: int) -> None:
    run(tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(TrainingError) as caught:
        run(tmp_path)
    assert "damaged or no checkpoint" in line_of(caught)


def test_a_checkpoint_that_is_safetensors_or_text_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError):
        run(tmp_path)


class MustNotRun:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"recipe": MustNotRun(tmp_path / "ran")}, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError):
        run(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KilledError):
        run(tmp_path, Watching(6, killed))
    before = (tmp_path / CHECKPOINT).read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError) as caught:
        run(tmp_path)
    assert "disk full" in line_of(caught)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_a_training_that_diverges_ends_and_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = Toy.step

    def diverging(self: Toy, step: int, batch: Any) -> Any:
        found = healthy(self, step, batch)
        return {"loss": torch.tensor(torch.nan)} if step == 6 else found

    monkeypatch.setattr(Toy, "step", diverging)
    with pytest.raises(TrainingError) as caught:
        run(tmp_path)
    assert "step 6: loss is nan" in line_of(caught)
    monkeypatch.undo()
    again = Watching()
    run(tmp_path, again)
    assert again.first_step == 4


def test_a_model_too_large_to_ship_is_refused_before_it_is_trained() -> None:
    with pytest.raises(TrainingError) as caught:
        check_size({"a": torch.zeros(600), "b": torch.zeros(500, dtype=torch.float16)}, 3000)
    assert "0.0 MB" in line_of(caught)
    assert check_size({"b": torch.zeros(500, dtype=torch.float16)}, 3000) == 1000


def test_devices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, hardware=replace(CPU, accelerator="cuda", devices=99))
    assert "give other --devices" in line_of(caught)


def test_half_precision_learns_too(tmp_path: Path) -> None:
    run(tmp_path, None, "steps=60", hardware=replace(CPU, precision="bf16-mixed"))
    lines = read_losses(tmp_path)
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]


def test_an_unknown_setting_is_named_with_the_nearest_known(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("learning_rat: 0.1\n")
    with pytest.raises(ConfigError) as caught:
        TOY.read_settings(file=file)
    line = line_of(caught)
    assert str(file) in line
    assert "'learning_rat'" in line
    assert "'learning_rate'" in line


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("nois=1", "did you mean 'noise'"),
        ("noise=loud", "noise is 'loud'"),
        ("noise", "give key=value"),
        ("noise=[", "is no YAML"),
        ("steps=0", "steps is 0"),
        ("steps=1.5", "steps is 1.5"),
    ],
)
def test_a_wrong_setting_is_named(change: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TOY.read_settings([change])
    assert shown in line_of(caught)


def test_a_settings_file_that_is_no_table_or_missing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    with pytest.raises(ConfigError):
        TOY.read_settings(file=file)
    file.write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError) as caught:
        TOY.read_settings(file=file)
    assert "holds no settings" in line_of(caught)


def test_what_is_set_counts_more_than_a_file_and_a_file_more_than_the_recipe(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 5\nsteps: 7\n")
    settings: RunSettings = TOY.read_settings(["steps=9"], file)
    assert (settings.seed, settings.steps, settings.log_every) == (5, 9, 1)


def test_a_signal_to_all_processes_does_not_end_those_that_prepare_data(tmp_path: Path) -> None:
    def tell_children() -> None:
        for child in multiprocessing.active_children():
            assert child.pid is not None
            # From outside: of one sent by its parent a worker makes something else.
            subprocess.run(["kill", "-TERM", str(child.pid)], check=True)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Watching(2, tell_children), "workers=1", "steps=40")
    again = Watching()
    run(tmp_path, again, "workers=1", "steps=40")
    assert again.first_step == 2
