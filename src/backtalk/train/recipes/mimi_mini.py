"""mimi-mini: a small Mimi trained with the paper's losses (Moshi, arXiv 2410.00037, section 3.3).

In two stages, as AudioDec was (arXiv 2305.16608): first everything learns, without judges; then
codes stand still, and the decoder learns to please judges. So a step of the second stage costs no
encoder, and what learns to write codes need not wait for the decoder.

Both ends are spectra instead of Mimi's convolutions at the rate of samples (`spectrum_hop`).
The judges are three of EnCodec's five, with fewer filters; a mel loss helps where there are
thousands of steps instead of millions. In the beginning nothing is quantized; then k-means finds
the first centroids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from backtalk.codecs.mimi.config import MimiConfig
from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.new_mimi import new_mimi
from backtalk.codecs.mimi.save import mimi_tensors
from backtalk.codecs.mimi.sizes_in_file import sizes_metadata
from backtalk.errors import ConfigError
from backtalk.models.store import ModelStore
from backtalk.nn.mel_distance import MelDistance
from backtalk.nn.stft_discriminator import MultiScaleDiscriminator
from backtalk.train.adversary import HINGE, Adversary, random_slice
from backtalk.train.descend import descend
from backtalk.train.learning_rate import rate_share, set_rate
from backtalk.train.mimi_in_training import MimiInTraining, Remade, meaning_loss
from backtalk.train.number_list import number_list
from backtalk.train.seeding import step_random
from backtalk.train.speech_store import Speech, open_speech
from backtalk.train.speech_teacher import FRAME_MS, WhisperTeacher
from backtalk.train.speech_windows import draw_windows, spread_windows
from backtalk.train.training import Batch, RunSettings, Stateful
from backtalk.train.weight_average import WeightAverage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_JUDGE_WINDOWS = (1024, 512, 256)
_MEL_WINDOWS = (2048, 1024, 512, 256)
_BETAS = (0.8, 0.99)
_VECTORS_PER_CENTROID = 4
_SCORED_WINDOWS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RunSettings):
    """The values and their meaning are in `mimi_mini.yaml`.

    Attributes:
        batch_size: windows per step and device.
        hours: of speech, at most.
        judge_from_step: where the second stage begins.
        judge_batch_size: windows per step and device from there on.
        judge_frames: of a window, that the judges hear.
        quantized_share: of the first stage's sequences, the others passing vectors on unquantized.
        whole_share: of sequences, that use all codebooks, the others any number.
        decoder_learning_rate: of the second stage.
    """

    spectrum_hop: int
    strides: str
    channels: int
    width: int
    layers: int
    heads: int
    hidden: int
    window: int
    codebook_dim: int
    cardinality: int
    codebooks: int
    batch_size: int
    window_frames: int
    hours: float
    gain_db: float
    mel_weight: float
    meaning_weight: float
    commitment_weight: float
    adversarial_weight: float
    feature_weight: float
    judge_filters: int
    judge_from_step: int
    judge_batch_size: int
    judge_frames: int
    quantize_from_step: int
    quantized_share: float
    whole_share: float
    codebook_decay: float
    reseed_every: int
    learning_rate: float
    decoder_learning_rate: float
    judge_learning_rate: float
    warm_up_steps: int
    final_rate_share: float
    weight_decay: float
    clip_norm: float
    average_decay: float

    @property
    def mimi(self) -> MimiConfig:
        """The sizes of the model."""
        return MimiConfig(
            channels=self.channels,
            strides=number_list("strides", self.strides),
            spectrum_hop=self.spectrum_hop,
            width=self.width,
            transformer_layers=self.layers,
            heads=self.heads,
            hidden=self.hidden,
            window=self.window,
            codebook_dim=self.codebook_dim,
            cardinality=self.cardinality,
            total_codebooks=self.codebooks,
        )

    @property
    def loss_weights(self) -> dict[str, float]:
        """Of every loss of the codec, by its name in the curves."""
        return {
            "mel": self.mel_weight,
            "meaning": self.meaning_weight,
            "commitment": self.commitment_weight,
            "adversarial": self.adversarial_weight,
            "features": self.feature_weight,
        }


class Teacher(Protocol):
    """What the first codebook is to agree with; see `WhisperTeacher`."""

    @property
    def width(self) -> int: ...
    def states(self, pcm: np.ndarray) -> np.ndarray: ...


def build(settings: Settings, data: Path, out: Path, fabric: Fabric) -> MimiMini:
    """A new model in training, with Whisper tiny as its teacher.

    Raises:
        ConfigError: frames are not as long as the teacher's.
    """
    frame_ms = 1000 * settings.mimi.frame_size / settings.mimi.sample_rate
    if frame_ms != FRAME_MS:
        raise ConfigError(
            f"strides {settings.strides} and spectrum_hop {settings.spectrum_hop} make frames of "
            f"{frame_ms:g} ms; they must be {FRAME_MS} ms"
        )
    teacher = WhisperTeacher(
        ModelStore.default().require("whisper-tiny.en"), settings.mimi.sample_rate
    )
    if fabric.is_global_zero:  # the first device decodes, the others find it done
        open_speech(data, out, settings.mimi.sample_rate, settings.hours)
    fabric.barrier()
    speech = open_speech(data, out, settings.mimi.sample_rate, settings.hours)
    return MimiMini(settings, speech, teacher, fabric)


class MimiMini:
    """The model in training; see `Training`.

    Args:
        speech: to learn from, and held out.
    """

    def __init__(
        self, settings: Settings, speech: tuple[Speech, Speech], teacher: Teacher, fabric: Fabric
    ) -> None:
        self.settings, self.teacher, self.fabric = settings, teacher, fabric
        self.speech, self.held_out = speech
        self.samples = settings.window_frames * settings.mimi.frame_size
        self.mel = MelDistance(settings.mimi.sample_rate, _MEL_WINDOWS).to(fabric.device)
        self.codec = MimiInTraining(new_mimi(settings.mimi), teacher.width, settings.codebook_decay)
        self.optimizer = torch.optim.AdamW(
            _decayed_apart(self.codec, settings.weight_decay),
            settings.learning_rate,
            _BETAS,
            fused=True,
        )
        self._run_codec, self._codec_steps = fabric.setup(self.codec, self.optimizer)
        judges = MultiScaleDiscriminator(_JUDGE_WINDOWS, settings.judge_filters)
        self.adversary = Adversary(judges, HINGE, settings.judge_learning_rate, _BETAS, fabric)
        self.average: WeightAverage[MimiModel] = WeightAverage(
            self.codec.model, settings.average_decay
        )

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """Everything that the next step depends on."""
        return {
            "codec": self.codec,
            **self.adversary.parts,
            "optimizer": self.optimizer,
            "average": self.average.model,
        }

    def batch(self, step: int) -> Batch:
        """Windows of speech and, in the first stage, the teacher's states."""
        pcm = self._windows(step)
        batch = {"pcm": torch.from_numpy(pcm)}
        if not self._has_judges(step):
            batch["states"] = torch.from_numpy(self.teacher.states(pcm))
        return batch

    def step(self, step: int, batch: Batch) -> Mapping[str, Tensor]:
        """Teach the codec: whole in the first stage, in the second its judges and its decoder."""
        settings = self.settings
        if step == settings.quantize_from_step:
            self._begin_codebooks(step)
        if step == settings.judge_from_step:
            self.codec.model.load_state_dict(self.average.model.state_dict())
        losses = self._judge(step, batch) if self._has_judges(step) else self._copy(step, batch)
        weights = settings.loss_weights
        weighted = [weight * losses[name] for name, weight in weights.items() if name in losses]
        loss = torch.stack(weighted).sum()
        gradient = descend(
            self.fabric, self._run_codec, self._codec_steps, loss, settings.clip_norm
        )
        self.average.update(self.codec.model)
        return {name: loss.detach() for name, loss in losses.items()} | gradient

    @torch.no_grad()
    def score(self) -> Mapping[str, float]:
        """Distances at every power of two of codebooks, agreement with the teacher, use of codes.

        Of the averaged weights, by the codes that a stream of the sound would have.
        """
        model = self.average.model
        windows = spread_windows(self.held_out, _SCORED_WINDOWS, self.samples)
        pcm = torch.from_numpy(windows).to(self.fabric.device)
        codes = model.quantizer.encode(model.encoder(pcm), self.settings.codebooks)
        found = {}
        for depth in _depths(self.settings.codebooks):
            remade = model.decoder(model.quantizer.decode(codes[:, :depth]))
            found[f"mel_{depth}"] = float(self.mel(remade, pcm))
        states = torch.from_numpy(self.teacher.states(windows)).to(self.fabric.device)
        first = model.quantizer.decode(codes[:, : model.config.semantic_codebooks])
        found["meaning"] = float(meaning_loss(self.codec.to_meaning(first), states))
        shares = torch.cat([self.codec.semantic.shares, self.codec.acoustic.shares])
        entropy = torch.special.entr(shares / shares.sum(1, keepdim=True).clamp(min=1e-12)).sum(1)
        found["codes_in_use"] = float(entropy.exp().mean() / self.settings.cardinality)
        return found

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The averaged weights in 16 bits, in Kyutai's layout."""
        tensors = mimi_tensors(self.average.model)
        return {name: tensor.half().cpu() for name, tensor in tensors.items()}, {
            **sizes_metadata(self.settings.mimi),
            "recipe": "mimi-mini",
        }

    def describe_data(self) -> str:
        """Where the speech is from and how much there is."""
        return (
            f"{self.speech.hours:.2f} h of speech from `{self.speech.source}`, "
            f"{self.held_out.hours:.2f} h held out"
        )

    def _has_judges(self, step: int) -> bool:
        return step >= self.settings.judge_from_step

    def _windows(self, step: int) -> np.ndarray:
        settings = self.settings
        count = settings.judge_batch_size if self._has_judges(step) else settings.batch_size
        random = step_random(settings.seed, step, self.fabric.global_rank, "windows")
        return draw_windows(self.speech, count, self.samples, settings.gain_db, random)

    def _begin_codebooks(self, step: int) -> None:
        """From the windows of this and the next steps, enough for every centroid."""
        settings = self.settings
        wanted = _VECTORS_PER_CENTROID * settings.cardinality
        batches = -(-wanted // (settings.batch_size * settings.window_frames))
        self.codec.begin_codebooks(
            [
                torch.from_numpy(self._windows(step + i)).to(self.fabric.device)
                for i in range(batches)
            ]
        )

    def _copy(self, step: int, batch: Batch) -> dict[str, Tensor]:
        """Losses of the first stage."""
        settings, pcm = self.settings, batch["pcm"]
        set_rate(
            self.optimizer,
            settings.learning_rate * self._rate_share(step, settings.judge_from_step),
        )
        remade = self._remake(
            pcm,
            settings.quantized_share,
            has_codebooks=step >= settings.quantize_from_step,
            reseed=step % settings.reseed_every == 0,
        )
        return {
            "mel": self.mel(remade.pcm, pcm),
            "meaning": meaning_loss(remade.meaning, batch["states"]),
            "commitment": remade.commitment,
        }

    def _judge(self, step: int, batch: Batch) -> dict[str, Tensor]:
        """Losses of the second stage; the judges have learned."""
        settings, pcm = self.settings, batch["pcm"]
        first = settings.judge_from_step
        share = self._rate_share(step - first, settings.steps - first)
        set_rate(self.optimizer, settings.decoder_learning_rate * share)
        self.adversary.set_rate(share)
        self.codec.freeze_codes()
        remade = self._remake(pcm, 1.0, has_codebooks=True, reseed=False).pcm
        frame = settings.mimi.frame_size
        part = random_slice(self.samples, settings.judge_frames * frame, frame)
        judges = self.adversary.teach(pcm[:, part], remade[:, part].detach())
        return {
            "mel": self.mel(remade, pcm),
            "judges": judges,
            **self.adversary.judge(pcm[:, part], remade[:, part]),
        }

    def _rate_share(self, step: int, steps: int) -> float:
        return rate_share(step, steps, self.settings.warm_up_steps, self.settings.final_rate_share)

    def _remake(
        self, pcm: Tensor, quantized_share: float, *, has_codebooks: bool, reseed: bool
    ) -> Remade:
        size, codebooks = (pcm.shape[0],), self.settings.codebooks
        is_whole = torch.rand(size, device=pcm.device) < self.settings.whole_share
        depth = torch.randint(1, codebooks + 1, size, device=pcm.device)
        remade: Remade = self._run_codec(
            pcm,
            torch.where(is_whole, codebooks, depth),
            torch.rand(size, device=pcm.device) < quantized_share,
            has_codebooks=has_codebooks,
            reseed=reseed,
        )
        return remade


def _depths(codebooks: int) -> list[int]:
    """1, 2, 4 and so on, and all."""
    powers = [2**i for i in range(codebooks.bit_length()) if 2**i < codebooks]
    return [*powers, codebooks]


def _decayed_apart(codec: MimiInTraining, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of weights: the transformers', which decay, and the others."""
    halves = (codec.model.encoder.transformer, codec.model.decoder.transformer)
    decayed = [weight for half in halves for weight in half.parameters()]
    known = {id(weight) for weight in decayed}
    others = [weight for weight in codec.parameters() if id(weight) not in known]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
