"""unit-vocoder: a HiFi-GAN on units, with the published losses (arXiv 2010.05646, 2104.00355).

Pieces are learned in the company of their neighbours, as a stream hears them, so that their edges
need not be guessed. Judges come late, because sound far from speech teaches them nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from backtalk.codecs.unit_vocoder.checkpoint import (
    load_unit_vocoder,
    sizes_metadata,
    vocoder_tensors,
)
from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig
from backtalk.codecs.unit_vocoder.durations import lengths_of, log_lengths_of
from backtalk.codecs.unit_vocoder.new_unit_vocoder import (
    new_unit_vocoder,
    with_weight_norm,
    without_weight_norm,
)
from backtalk.codecs.unit_vocoder.unit_vocoder_model import UnitVocoderModel
from backtalk.codecs.units.unit_tokenizer import UnitTokenizer
from backtalk.codecs.units.units_file import load_unit_tokenizer
from backtalk.errors import ConfigError
from backtalk.models.miniatures import miniature_path
from backtalk.nn.mel_distance import MelDistance
from backtalk.nn.waveform_discriminators import WaveformDiscriminators
from backtalk.train.adversary import LEAST_SQUARES, Adversary
from backtalk.train.descend import descend
from backtalk.train.learning_rate import rate_share, set_rate
from backtalk.train.number_list import number_list
from backtalk.train.seeding import step_random
from backtalk.train.training import Batch, RunSettings, Stateful
from backtalk.train.unit_speech import UnitSpeech, open_unit_speech
from backtalk.train.weight_average import WeightAverage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_MEL_WINDOWS = (1024, 512, 256)
_BETAS = (0.8, 0.99)
_SCORED_PIECES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RunSettings):
    """The values and their meaning are in `unit_vocoder.yaml`.

    Attributes:
        tokenizer: path of a file that the recipe `units` wrote; the shipped one if empty.
        begin_with: a vocoder file, or empty.
        hours: of speech, at most.
        batch_size: pieces per step and device.
        rates, rate_kernels, block_kernels, dilations: numbers with commas.
        adversarial_weight, feature_weight: count from `judge_from_step`.
    """

    tokenizer: str
    begin_with: str
    hours: float
    batch_size: int
    segment_units: int
    runs_units: int
    embedding: int
    channels: int
    rates: str
    rate_kernels: str
    block_kernels: str
    dilations: str
    spectrum_hop: int
    duration_width: int
    mel_weight: float
    adversarial_weight: float
    feature_weight: float
    duration_weight: float
    judge_divisor: int
    judge_scales: int
    judge_from_step: int
    learning_rate: float
    judge_learning_rate: float
    warm_up_steps: int
    final_rate_share: float
    clip_norm: float
    average_decay: float

    @property
    def tokenizer_path(self) -> Path:
        """Of the file that is used."""
        return Path(self.tokenizer) if self.tokenizer else miniature_path("units")

    def vocoder(self, units: int) -> UnitVocoderConfig:
        """The sizes of the model, for so many units."""
        return UnitVocoderConfig(
            units=units,
            embedding=self.embedding,
            channels=self.channels,
            rates=number_list("rates", self.rates),
            rate_kernels=number_list("rate_kernels", self.rate_kernels),
            block_kernels=number_list("block_kernels", self.block_kernels),
            dilations=number_list("dilations", self.dilations),
            spectrum_hop=self.spectrum_hop,
            duration_width=self.duration_width,
        )

    @property
    def loss_weights(self) -> dict[str, float]:
        """Of every loss of the vocoder, by its name in the curves."""
        return {
            "mel": self.mel_weight,
            "duration": self.duration_weight,
            "adversarial": self.adversarial_weight,
            "features": self.feature_weight,
        }


def build(settings: Settings, data: Path, out: Path, fabric: Fabric) -> UnitVocoderInTraining:
    """A new model in training; encodes all speech first, unless that was done."""
    tokenizer = load_unit_tokenizer(settings.tokenizer_path)
    if fabric.is_global_zero:  # the first device encodes, the others find it done
        _open(settings, data, out, tokenizer)
    fabric.barrier()
    speech = _open(settings, data, out, tokenizer)
    return UnitVocoderInTraining(settings, settings.vocoder(tokenizer.cardinality), speech, fabric)


class UnitVocoderInTraining:
    """The model in training; see `Training`.

    Args:
        speech: to learn from, and held out.
    Raises:
        ConfigError: units are longer or shorter in the vocoder than in the speech, or it is to
            begin with a vocoder of other sizes.
    """

    def __init__(
        self,
        settings: Settings,
        config: UnitVocoderConfig,
        speech: tuple[UnitSpeech, UnitSpeech],
        fabric: Fabric,
    ) -> None:
        self.settings, self.config, self.fabric = settings, config, fabric
        self.speech, self.held_out = speech
        if config.hop_samples != self.speech.hop_samples:
            raise ConfigError(
                f"rates {settings.rates} and spectrum_hop {settings.spectrum_hop} make "
                f"{config.hop_samples} samples of a unit, but it has {self.speech.hop_samples}"
            )
        self.mel = MelDistance(config.sample_rate, _MEL_WINDOWS).to(fabric.device)
        self.vocoder = _Learner(_first_model(settings, config))
        self.optimizer = torch.optim.AdamW(
            self.vocoder.parameters(), settings.learning_rate, _BETAS
        )
        self._run_vocoder, self._vocoder_steps = fabric.setup(self.vocoder, self.optimizer)
        self.adversary = Adversary(
            WaveformDiscriminators(settings.judge_divisor, settings.judge_scales),
            LEAST_SQUARES,
            settings.judge_learning_rate,
            _BETAS,
            fabric,
        )
        self.average: WeightAverage[UnitVocoderModel] = WeightAverage(
            self.vocoder.model, settings.average_decay
        )

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """Everything that the next step depends on."""
        return {
            "vocoder": self.vocoder,
            **self.adversary.parts,
            "optimizer": self.optimizer,
            "average": self.average.model,
        }

    def batch(self, step: int) -> Batch:
        """Units with their neighbours and their sound; runs and their lengths."""
        settings = self.settings
        random = step_random(settings.seed, step, self.fabric.global_rank, "pieces")
        count = settings.batch_size
        units, pcm = self.speech.draw(count, settings.segment_units, self.config.reach, random)
        runs, lengths = self.speech.draw_runs(count, settings.runs_units, random)
        found = {"units": units, "pcm": pcm, "runs": runs, "lengths": lengths}
        return {name: torch.from_numpy(array) for name, array in found.items()}

    def step(self, step: int, batch: Batch) -> Mapping[str, Tensor]:
        """Teach the judges, if it is their time, then the vocoder."""
        settings = self.settings
        share = rate_share(step, settings.steps, settings.warm_up_steps, settings.final_rate_share)
        set_rate(self.optimizer, settings.learning_rate * share)
        self.adversary.set_rate(share)
        pcm = batch["pcm"]
        made, log_lengths = self._run_vocoder(batch["units"], batch["runs"])
        losses = {
            "mel": self.mel(made, pcm),
            "duration": duration_loss(log_lengths, batch["lengths"]),
        }
        values = {}
        if step >= settings.judge_from_step:
            values["judges"] = self.adversary.teach(pcm, made.detach())
            losses |= self.adversary.judge(pcm, made)
        weights = settings.loss_weights
        weighted = [weights[name] * loss for name, loss in losses.items()]
        loss = torch.stack(weighted).sum()
        gradient = descend(
            self.fabric, self._run_vocoder, self._vocoder_steps, loss, settings.clip_norm
        )
        self.average.update(self.vocoder.model)
        found = {name: loss.detach() for name, loss in {**losses, **values}.items()}
        return found | gradient

    @torch.no_grad()
    def score(self) -> Mapping[str, float]:
        """Distance of held-out speech, and how wrong durations are, of the averaged weights."""
        settings, model = self.settings, self.average.model
        random = step_random(settings.seed, 0, 0, "score")
        units, pcm = (
            torch.from_numpy(array).to(self.fabric.device)
            for array in self.held_out.draw(
                _SCORED_PIECES, settings.segment_units, self.config.reach, random
            )
        )
        runs, lengths = (
            torch.from_numpy(array).to(self.fabric.device)
            for array in self.held_out.draw_runs(_SCORED_PIECES, settings.runs_units, random)
        )
        guessed = lengths_of(model.log_lengths(runs))
        is_known = lengths > 0
        return {
            "mel": float(self.mel(model.sound_of_middle(units), pcm)),
            "duration_error": float((guessed - lengths)[is_known].abs().float().mean()),
            "duration_mean": float(lengths[is_known].float().mean()),
        }

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The averaged weights in 16 bits, under their published names."""
        tensors = vocoder_tensors(without_weight_norm(self.average.model))
        return {name: tensor.half() for name, tensor in tensors.items()}, {
            **sizes_metadata(self.config),
            "recipe": "unit-vocoder",
        }

    def describe_data(self) -> str:
        """Where the speech is from and how much there is."""
        begin_with = self.settings.begin_with
        begun = f"; begun with `{Path(begin_with).name}`" if begin_with else ""
        return (
            f"{self.speech.hours:.2f} h of one voice from `{self.speech.source}`, "
            f"{self.held_out.hours:.2f} h held out; units of `{self.settings.tokenizer_path.name}`"
            f"{begun}"
        )


class _Learner(nn.Module):
    """Both tasks in one call, as several devices want it."""

    def __init__(self, model: UnitVocoderModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, units: Tensor, runs: Tensor) -> tuple[Tensor, Tensor]:
        """Sound of the middle of units, and logarithms of the lengths of runs."""
        return self.model.sound_of_middle(units).float(), self.model.log_lengths(runs).float()


def _first_model(settings: Settings, config: UnitVocoderConfig) -> UnitVocoderModel:
    if not settings.begin_with:
        return new_unit_vocoder(config)
    model = load_unit_vocoder(settings.begin_with)
    if model.config != config:
        raise ConfigError(
            f"{settings.begin_with} is a vocoder of other sizes than these settings; give its "
            "sizes, or another begin_with"
        )
    return with_weight_norm(model.train().requires_grad_(True))


def duration_loss(log_lengths: Tensor, lengths: Tensor) -> Tensor:
    """Mean squared error where lengths are known (above 0); scalar."""
    is_known = (lengths > 0).float()
    errors = (log_lengths - log_lengths_of(lengths)).square() * is_known
    return errors.sum() / is_known.sum().clamp(min=1)


def _open(
    settings: Settings, data: Path, out: Path, tokenizer: UnitTokenizer
) -> tuple[UnitSpeech, UnitSpeech]:
    return open_unit_speech(data, out, tokenizer, settings.hours, settings.segment_units)
