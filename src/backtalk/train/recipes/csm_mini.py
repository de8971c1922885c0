"""csm-mini: CSM's architecture, small, on the codes of a mimi-mini; it speaks in one voice.

Learns as CSM did (teacher forcing, later codebooks from a share of the frames), and besides at
every depth that it may be run at: in part of the sequences only the first codes of a frame count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from backtalk.codecs.mimi.codes_identity import codes_sha256
from backtalk.codecs.mimi.load import load_mimi
from backtalk.csm.config import CsmConfig, TransformerSize
from backtalk.csm.in_training import CodebookLosses, CsmInTraining
from backtalk.csm.miniature_file import Miniature, miniature_metadata
from backtalk.csm.model import CsmModel
from backtalk.csm.new_csm import new_csm
from backtalk.csm.phonemes import PHONEMES, PhonemeTokenizer
from backtalk.csm.save import csm_tensors
from backtalk.models.miniatures import miniature_path
from backtalk.train.descend import descend
from backtalk.train.learning_rate import rate_share, set_rate
from backtalk.train.minitalk.corpus import Corpus
from backtalk.train.readings import reading_codes
from backtalk.train.seeding import step_random
from backtalk.train.spoken_answers import answer_codes
from backtalk.train.spoken_codes import CodeStore
from backtalk.train.spoken_sequences import (
    DepthDraw,
    Sentence,
    Share,
    draw_sequences,
    sentences_of,
    stacked,
)
from backtalk.train.training import Batch, RunSettings, Stateful
from backtalk.train.weight_average import WeightAverage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_BETAS = (0.9, 0.95)
_HELD_OUT_HOURS = 0.2
_SCORED_SENTENCES = 64
CODES = "codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RunSettings):
    """The values and their meaning are in `csm_mini.yaml`.

    Attributes:
        codec: a trained mimi-mini; the shipped one if empty.
        hours: of answers, about.
        positions: of a sequence, text and frames.
        readings, readings_share: see `readings.py`; without readings the share counts for nothing.
        later_share: of the frames, that codebooks after the first are learnt from.
        full_depth_share, mixed_depth_share: see `DepthDraw`.
    """

    codec: str
    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    depth_layers: int
    depth_width: int
    depth_hidden: int
    depth_heads: int
    depth_kv_heads: int
    max_positions: int
    codebooks: int
    batch_size: int
    positions: int
    hours: float
    readings: int
    readings_share: float
    later_share: float
    full_depth_share: float
    mixed_depth_share: float
    learning_rate: float
    warm_up_steps: int
    final_rate_share: float
    weight_decay: float
    clip_norm: float
    average_decay: float

    def csm(self, cardinality: int) -> CsmConfig:
        """The sizes of the model, for codes 0 .. cardinality - 1; no id is reserved."""
        return CsmConfig(
            TransformerSize(
                self.layers, self.width, self.hidden, self.heads, self.kv_heads, self.max_positions
            ),
            TransformerSize(
                self.depth_layers,
                self.depth_width,
                self.depth_hidden,
                self.depth_heads,
                self.depth_kv_heads,
                self.codebooks + 1,
            ),
            codebooks=self.codebooks,
            card=cardinality,
            audio_vocab=cardinality,
            text_vocab=PhonemeTokenizer().vocab,
        )


def build(settings: Settings, data: Path, out: Path, fabric: Fabric) -> CsmMini:
    """A new model in training; the speech is encoded the first time."""
    path = Path(settings.codec) if settings.codec else miniature_path("mimi-mini")
    codec = load_mimi(path).to(fabric.device)
    sha256 = codes_sha256(codec)
    store = CodeStore(out / CODES, codec, sha256, settings.codebooks)
    corpus, tokens = Corpus(data), PhonemeTokenizer()

    def read() -> tuple[list[Share], list[Sentence]]:
        answers = answer_codes(store, corpus, "train", settings.hours)
        spoken = {"answers": answers}
        shares = [1.0]
        if settings.readings:
            readings = reading_codes(store, settings.readings, settings.seed)
            spoken["sentences of common words"] = readings
            shares = [1.0 - settings.readings_share, settings.readings_share]
        mixture = [
            Share(what, store.hours(of), sentences_of(of, tokens, settings.positions), share)
            for (what, of), share in zip(spoken.items(), shares, strict=True)
        ]
        held_out = answer_codes(store, corpus, "valid", _HELD_OUT_HOURS)
        return mixture, sentences_of(held_out, tokens, settings.positions)[:_SCORED_SENTENCES]

    if not fabric.is_global_zero:  # the first device encodes, the others find it done
        fabric.barrier()
    mixture, held_out = read()
    if fabric.is_global_zero:
        fabric.barrier()
    return CsmMini(settings, mixture, held_out, codec.config.cardinality, sha256, fabric)


class CsmMini:
    """The model in training; see `Training`.

    Args:
        mixture: sentences to learn from.
        held_out: others, to be scored on.
        cardinality: of the codec.
        codes_sha256: of the codec.
    """

    def __init__(
        self,
        settings: Settings,
        mixture: Sequence[Share],
        held_out: Sequence[Sentence],
        cardinality: int,
        codes_sha256: str,
        fabric: Fabric,
    ) -> None:
        self.settings, self.fabric = settings, fabric
        self.mixture, self.held_out = mixture, held_out
        self.codes_sha256 = codes_sha256
        self.depth = DepthDraw(settings.full_depth_share, settings.mixed_depth_share)
        self.csm = CsmInTraining(new_csm(settings.csm(cardinality)))
        self.optimizer = torch.optim.AdamW(
            _decayed_apart(self.csm, settings.weight_decay),
            settings.learning_rate,
            _BETAS,
            fused=True,
        )
        self._run, self._steps = fabric.setup(self.csm, self.optimizer)
        self.average: WeightAverage[CsmModel] = WeightAverage(
            self.csm.model, settings.average_decay
        )

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """Everything that the next step depends on."""
        return {"csm": self.csm, "optimizer": self.optimizer, "average": self.average.model}

    def batch(self, step: int) -> Batch:
        """Sequences of sentences."""
        settings = self.settings
        random = step_random(settings.seed, step, self.fabric.global_rank, "sentences")
        return draw_sequences(
            self.mixture, settings.batch_size, settings.positions, self.depth, random
        )

    def step(self, step: int, batch: Batch) -> Mapping[str, Tensor]:
        """Learn from them."""
        settings = self.settings
        share = rate_share(step, settings.steps, settings.warm_up_steps, settings.final_rate_share)
        set_rate(self.optimizer, settings.learning_rate * share)
        losses: CodebookLosses = self._run(batch["frames"], batch["depths"], settings.later_share)
        gradient = descend(
            self.fabric, self._run, self._steps, losses.first + losses.later, settings.clip_norm
        )
        self.average.update(self.csm.model)
        found = {"first": losses.first.detach(), "later": losses.later.detach()}
        return found | gradient

    @torch.no_grad()
    def score(self) -> Mapping[str, float]:
        """Cross-entropy of every codebook, and of the first when fewer are fed back; in nats.

        Of the averaged weights, on sentences without a past.
        """
        codebooks = self.settings.codebooks
        found = {}
        for depth in _depths(codebooks):
            losses = self._held_out_losses(depth)
            found[f"first_at_{depth}"] = float(losses.first)
        for at in range(1, codebooks):
            found[f"codebook_{at}"] = float(losses.sums[at] / losses.counts[at])
        return found

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The averaged weights in 16 bits, in Sesame's layout."""
        model = self.average.model
        about = Miniature(model.config, PHONEMES, self.codes_sha256)
        tensors = {name: tensor.half().cpu() for name, tensor in csm_tensors(model).items()}
        return tensors, {**miniature_metadata(about), "recipe": "csm-mini"}

    def describe_data(self) -> str:
        """How much speech there is, and whose codes."""
        learned = " and ".join(f"{part.hours:.2f} h of {part.what}" for part in self.mixture)
        return (
            f"{learned} in the voice of MiniTalk's answers, {len(self.held_out)} answers held out; "
            f"mimi-mini's codes {self.codes_sha256[:12]}"
        )

    def _held_out_losses(self, depth: int) -> CodebookLosses:
        rows = [(frames, depth * is_sound) for frames, is_sound in self.held_out]
        batch = stacked(rows, max(len(frames) for frames, _ in rows))
        frames, depths = (batch[name].to(self.fabric.device) for name in ("frames", "depths"))
        losses: CodebookLosses = CsmInTraining(self.average.model)(frames, depths, 1.0)
        return losses


def _depths(codebooks: int) -> list[int]:
    """1, 2, 4 and so on, and all."""
    powers = [2**i for i in range(codebooks.bit_length()) if 2**i < codebooks]
    return [*powers, codebooks]


def _decayed_apart(csm: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of weights: matrices, which decay, and norms and embeddings."""
    named = list(csm.named_parameters())
    decayed = [w for name, w in named if w.ndim == 2 and "embeddings" not in name]
    others = [w for name, w in named if w.ndim != 2 or "embeddings" in name]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
