"""Runs a recipe: steps, curves, checkpoints, scores, and the files it ends in.

Devices, precision and TensorBoard are Lightning Fabric's; the loop is here, because a loop that can
be resumed exactly has to be seen. A step depends on the checkpoint, its number and the seed, and on
nothing else: data and every draw are derived from seed and number (`seeding.py`), no iterator or
generator has a state that would have to be saved.

A run is a folder:

    checkpoint.pt       the state after the last steps; run the same command again to go on
    losses.jsonl        the curves
    tensorboard/        the same for `tensorboard --logdir`
    losses.png, model.safetensors, README.md      written at the end: picture, weights, card
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from backtalk.errors import ConfigError
from backtalk.machine import describe_machine
from backtalk.train.checkpoint import read_checkpoint, restore, write_checkpoint
from backtalk.train.loss_plot import draw_losses
from backtalk.train.losses_file import LossesFile, read_losses
from backtalk.train.model_card import FinishedRun, write_card
from backtalk.train.recipe import Recipe
from backtalk.train.seeding import seed_torch
from backtalk.train.shipped_weights import check_size, write_weights
from backtalk.train.stop_request import StopRequest, leave_signals_to_parent
from backtalk.train.training import Batch, RunSettings, Training
from backtalk.train.training_error import TrainingError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS: tuple[Precision, ...] = ("32-true", "bf16-mixed")


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where a run computes; it may change between a run and its resumption.

    Attributes:
        accelerator: `auto`, `cpu` or `cuda`.
        devices: how many.
        precision: of the products; weights and optimizers are float32 either way.
    """

    accelerator: str = "auto"
    devices: int = 1
    precision: Precision = "32-true"


class Watcher(Protocol):
    """Who is told how a run goes."""

    def begin(self, first_step: int, steps: int) -> None:
        """The run goes on from a step, 0 if it is new."""
        ...

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """A step is done; with its scalars every `log_every` steps, else none."""
        ...


def train(
    recipe: Recipe,
    settings: RunSettings,
    data: Path,
    out: Path,
    hardware: Hardware,
    watcher: Watcher,
) -> Path:
    """Begin a run or go on with it, to the end.

    Asked to stop by Ctrl-C or SIGTERM it ends the step, writes a checkpoint and raises
    KeyboardInterrupt.

    Returns:
        The model card.
    Raises:
        TrainingError: data, checkpoint or folder are of no use, or the training diverged.
        ConfigError: the devices are not there, or the packages.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
        raise TrainingError(f"{out} cannot be made ({reason}); give another --out") from error
    found = read_checkpoint(out, recipe.name, settings)
    first_step = found["step"] if found else 0
    fabric = _new_fabric(hardware, out, first_step)
    try:
        seed_torch(settings.seed, 0, fabric.global_rank)
        training = recipe.build(settings, data, out, fabric)
        check_size(training.export()[0])
        if found is not None:
            restore(found, training.parts, out)
        run = _Run(recipe, settings, training, fabric, out)
        run.step, run.seconds = first_step, found["seconds"] if found else 0.0
        watcher.begin(first_step, settings.steps)
        run.go_on(watcher)
        return run.finish(f"{hardware.devices} x {fabric.device.type}, {hardware.precision}")
    finally:
        fabric.logger.finalize("")


class _Run:
    """A run between two steps."""

    def __init__(
        self, recipe: Recipe, settings: RunSettings, training: Training, fabric: Fabric, out: Path
    ) -> None:
        self.recipe, self.settings, self.training = recipe, settings, training
        self.fabric, self.out = fabric, out
        self.step, self.seconds = 0, 0.0

    def go_on(self, watcher: Watcher) -> None:
        """All steps that are left.

        Raises:
            KeyboardInterrupt: asked to stop; the checkpoint is written.
        """
        losses = LossesFile(self.out, self.step) if self.fabric.is_global_zero else None
        with StopRequest() as stop:
            for batch in self._batches():
                values = self._one_step(batch)
                if losses is not None and values:
                    losses.add(self.step - 1, values)
                watcher.stepped(self.step, values)
                is_last = self.step == self.settings.steps
                if stop.is_made or is_last or self.step % self.settings.checkpoint_every == 0:
                    self._write_checkpoint()
                if stop.is_made and not is_last:
                    raise KeyboardInterrupt

    def finish(self, device: str) -> Path:
        """Write what a run ends in; return the card."""
        scores = self._score()
        tensors, metadata = self.training.export()
        if self.fabric.is_global_zero:
            weights = write_weights(self.out, tensors, metadata)
            draw_losses(self.out, read_losses(self.out), f"{self.recipe.name}: training curves")
            write_card(
                self.out,
                FinishedRun(
                    self.recipe.name,
                    self.recipe.summary,
                    self.settings,
                    self.training.describe_data(),
                    self.seconds,
                    device,
                    describe_machine(),
                    sum(tensor.numel() for tensor in tensors.values()),
                    weights.stat().st_size,
                    scores,
                ),
            )
        self.fabric.barrier()
        return self.out / "README.md"

    def _one_step(self, batch: Batch) -> dict[str, float]:
        """Its scalars if it is one that is logged."""
        settings, step = self.settings, self.step
        began_s = time.monotonic()
        seed_torch(settings.seed, step, self.fabric.global_rank)
        found = self.training.step(step, self.fabric.to_device(batch))
        values: dict[str, float] = {}
        if step % settings.log_every == 0:
            values = {name: float(value) for name, value in found.items()}
            if bad := [name for name, value in values.items() if not abs(value) < float("inf")]:
                raise TrainingError(
                    f"step {step}: {bad[0]} is {values[bad[0]]}, the training has diverged; give a "
                    "lower learning_rate and begin again in another --out"
                )
        self.step, self.seconds = step + 1, self.seconds + time.monotonic() - began_s
        if self.step % settings.score_every == 0:
            values |= self._score()
        if values:
            self.fabric.log_dict(values, step)
        return values

    def _score(self) -> dict[str, float]:
        seed_torch(self.settings.seed, self.step, self.fabric.global_rank)
        return {f"score/{name}": value for name, value in self.training.score().items()}

    def _batches(self) -> Iterator[Batch]:
        from torch.utils.data import DataLoader

        loader: Any = DataLoader(
            _Batches(self.training),  # type: ignore[arg-type]
            batch_size=None,
            sampler=range(self.step, self.settings.steps),
            num_workers=self.settings.workers,
            worker_init_fn=leave_signals_to_parent,
        )
        return iter(loader)

    def _write_checkpoint(self) -> None:
        if self.fabric.is_global_zero:
            write_checkpoint(
                self.out,
                self.recipe.name,
                self.settings,
                self.step,
                self.seconds,
                self.training.parts,
            )


class _Batches:
    """The batch of every step, for a loader that may be another process."""

    def __init__(self, training: Training) -> None:
        self._batch = training.batch

    def __getitem__(self, step: int) -> Batch:
        return self._batch(step)


def _new_fabric(hardware: Hardware, out: Path, first_step: int) -> Fabric:
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger
        from lightning_fabric.utilities.exceptions import MisconfigurationException

        logger = TensorBoardLogger(out, name="tensorboard", version="", purge_step=first_step)
    except ImportError as error:
        raise ConfigError(
            f"training needs more packages ({error}); pip install 'backtalk[train]'"
        ) from error
    try:
        fabric = Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            # Sequences that are not quantized leave weights without a gradient.
            strategy="auto" if hardware.devices == 1 else "ddp_find_unused_parameters_true",
            precision=hardware.precision,
            loggers=logger,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{hardware.devices} x {hardware.accelerator} cannot be had here "
            f"({' '.join(str(error).split())[:160]}); give other --devices or --accelerator"
        ) from error
    fabric.launch()
    return fabric
