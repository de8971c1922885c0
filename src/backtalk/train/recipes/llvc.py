"""llvc: a voice for LLVC (arXiv 2311.00873), learnt from pairs that `llvc-data` made.

The paper's recipe, with what the authors' code does otherwise than it says decided one by one
(https://github.com/KoeAI/LLVC, train.py, utils.py, model.py):

- Their judges are taught real as fake and fake as real, so that they help the network instead of
  opposing it. Here they oppose it.
- They use the first four seconds of every recording only. Here windows lie anywhere.
- Their pre-net is silenced by dropout on a single channel while it learns. Here there is none, as
  in their `llvc_nc`.
- They validate on the last batch learnt from. Here scores are of held-out pairs.
- Dropout in the decoder stays on when they convert. Here there is none.
- The distance of HuBERT's features needs weights that no package carries, and is left out.
- The mel distance is this package's (`nn/mel_distance.py`), of log magnitudes only.
- Nine judges of 71 million weights are replaced by fewer and narrower ones on short slices.

New is that the size of the chunk is drawn for every step, so that one voice serves all of them, and
that the input is disguised (`pair_windows.py`), as thousands of speakers would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from backtalk.errors import ConfigError
from backtalk.llvc.config import HEADS, SAMPLE_RATE, LlvcConfig
from backtalk.llvc.network import LlvcNetwork
from backtalk.llvc.network_weights import network_of, voice_of
from backtalk.llvc.voice_file import read_voice
from backtalk.models.store import ModelStore
from backtalk.nn.mel_distance import MelDistance
from backtalk.nn.waveform_discriminators import WaveformDiscriminators
from backtalk.train.adversary import LEAST_SQUARES, Adversary, random_slice
from backtalk.train.conversion.conversion_scores import ConversionJudge, Ears, RealEars
from backtalk.train.conversion.pair_files import Pairs, open_pairs
from backtalk.train.conversion.pair_windows import Disguise, PairWindows
from backtalk.train.conversion.sample_files import write_samples
from backtalk.train.conversion.teacher import Pair
from backtalk.train.descend import descend
from backtalk.train.learning_rate import rate_share, set_rate
from backtalk.train.seeding import step_random
from backtalk.train.training import Batch, RunSettings, Stateful
from backtalk.train.weight_average import WeightAverage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHUNKS = (2, 4, 8, 13)
"""Frames of a chunk that a voice is trained for: the delay is 3, 5, 9 or 14 ms."""

_MEL_WINDOWS = (1024, 512, 256)
_BETAS = (0.8, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RunSettings):
    """The values and their meaning are in `llvc.yaml`.

    Attributes:
        begin_with: a voice file, or empty.
        hours: of pairs, at most.
        heard: name of the voice that is heard in them, or empty for all.
        batch_size: windows per step and device.
        adversarial_weight, feature_weight: count from `judge_from_step`.
        scored_pairs: held-out pairs that are converted and judged.
    """

    width: int
    decoder_width: int
    encoder_layers: int
    begin_with: str
    hours: float
    heard: str
    batch_size: int
    window_s: float
    gain_db: float
    formants: float
    equaliser_db: float
    noise_snr_db: float
    disguised_share: float
    mel_weight: float
    adversarial_weight: float
    feature_weight: float
    judge_divisor: int
    judge_scales: int
    judge_slice: int
    judge_from_step: int
    scored_pairs: int
    learning_rate: float
    judge_learning_rate: float
    warm_up_steps: int
    final_rate_share: float
    clip_norm: float
    average_decay: float

    def __post_init__(self) -> None:
        """Refuse sizes that no network has.

        Raises:
            ConfigError: says which.
        """
        RunSettings.__post_init__(self)
        if self.decoder_width < 1 or self.decoder_width % (2 * HEADS):
            raise ConfigError(
                f"decoder_width is {self.decoder_width}, but must be a multiple of {2 * HEADS}"
            )
        if self.width < 1 or self.width % self.decoder_width:
            raise ConfigError(
                f"width is {self.width}, but must be a multiple of decoder_width "
                f"({self.decoder_width})"
            )
        if self.samples < max(self.judge_slice, *_MEL_WINDOWS):
            raise ConfigError(f"window_s is {self.window_s}; it must hold judge_slice samples")

    @property
    def llvc(self) -> LlvcConfig:
        """The sizes of the network."""
        return LlvcConfig(
            width=self.width,
            decoder_width=self.decoder_width,
            encoder_layers=self.encoder_layers,
        )

    @property
    def samples(self) -> int:
        """Of a window: whole frames."""
        hop = self.llvc.hop
        return round(self.window_s * SAMPLE_RATE) // hop * hop

    @property
    def disguise(self) -> Disguise:
        """How far what is heard is changed."""
        return Disguise(
            self.gain_db,
            self.formants,
            self.equaliser_db,
            self.noise_snr_db,
            self.disguised_share,
        )


def build(settings: Settings, data: Path, out: Path, fabric: Fabric) -> LlvcTraining:
    """A network in training."""
    pairs = open_pairs(data, "train").some(settings.hours, settings.heard)
    held_out = open_pairs(data, "held-out")
    return LlvcTraining(settings, pairs, held_out, RealEars(ModelStore.default()), out, fabric)


class LlvcTraining:
    """The network in training; see `Training`.

    Args:
        pairs: to learn from.
        out: samples are written into it.
    """

    def __init__(
        self,
        settings: Settings,
        pairs: Pairs,
        held_out: Pairs,
        ears: Ears,
        out: Path,
        fabric: Fabric,
    ) -> None:
        self.settings, self.pairs, self.out, self.fabric = settings, pairs, out, fabric
        self.windows = PairWindows(pairs)
        self.scored = spread_pairs(held_out, settings.scored_pairs)
        self.judge_of_scored = ConversionJudge(ears, self.scored)
        self.mel = MelDistance(SAMPLE_RATE, _MEL_WINDOWS).to(fabric.device)
        self.network = LlvcNetwork(settings.llvc)
        if settings.begin_with:
            self.network.load_state_dict(_voice(settings).state_dict())
        self.adversary = Adversary(
            WaveformDiscriminators(settings.judge_divisor, settings.judge_scales),
            LEAST_SQUARES,
            settings.judge_learning_rate,
            _BETAS,
            fabric,
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, _BETAS, weight_decay=0.0
        )
        self._run_network, self._steps = fabric.setup(self.network, self.optimizer)
        self.average = WeightAverage(self.network, settings.average_decay)

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """Everything that the next step depends on."""
        return {
            "network": self.network,
            "optimizer": self.optimizer,
            **self.adversary.parts,
            "average": self.average.model,
        }

    def batch(self, step: int) -> Batch:
        """Windows of pairs, the input in disguise."""
        settings = self.settings
        random = step_random(settings.seed, step, self.fabric.global_rank, "windows")
        heard, said = self.windows.draw(
            settings.batch_size, settings.samples, settings.disguise, random
        )
        return {"heard": torch.from_numpy(heard), "said": torch.from_numpy(said)}

    def step(self, step: int, batch: Batch) -> Mapping[str, Tensor]:
        """Teach the judges, if there are any yet, then the network."""
        settings = self.settings
        share = rate_share(step, settings.steps, settings.warm_up_steps, settings.final_rate_share)
        set_rate(self.optimizer, settings.learning_rate * share)
        self.adversary.set_rate(share)
        frames = CHUNKS[int(torch.randint(len(CHUNKS), ()))]
        self.network.set_chunk(frames)
        self.average.model.set_chunk(frames)
        said = batch["said"]
        made = self._run_network(batch["heard"]).float()
        losses = {"mel": self.mel(made, said)}
        weighted = settings.mel_weight * losses["mel"]
        found: dict[str, Tensor] = {}
        if step >= settings.judge_from_step:
            part = random_slice(said.shape[1], settings.judge_slice)
            found["judges"] = self.adversary.teach(said[:, part], made[:, part].detach())
            losses |= self.adversary.judge(said[:, part], made[:, part])
            weighted = weighted + settings.adversarial_weight * losses["adversarial"]
            weighted = weighted + settings.feature_weight * losses["features"]
        gradient = descend(
            self.fabric, self._run_network, self._steps, weighted, settings.clip_norm
        )
        self.average.update(self.network)
        found |= {name: loss.detach() for name, loss in losses.items()}
        return found | gradient

    @torch.no_grad()
    def score(self) -> Mapping[str, float]:
        """Distances by size of chunk, and what the ears say of the longest.

        Of the averaged weights. Some of the conversions are written beside the checkpoint.
        """
        network = self.average.model
        found: dict[str, float] = {"mel_source": self._distance([p.heard for p in self.scored])}
        converted: list[np.ndarray] = []
        for frames in CHUNKS:
            network.set_chunk(frames)
            converted = [self._convert(network, pair.heard) for pair in self.scored]
            found[f"mel_{frames}"] = self._distance(converted)
        if self.fabric.is_global_zero:
            write_samples(self.out, self.scored, converted)
        return found | self.judge_of_scored.scores(converted)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The averaged weights in 16 bits under their published names."""
        voice = voice_of(self.average.model, "llvc")
        return {
            name: torch.from_numpy(tensor).half().contiguous()
            for name, tensor in voice.weights.items()
        }, {
            "chunk_frames": str(CHUNKS[-1]),
            "context_frames": str(self.settings.llvc.context_frames),
            "trained_chunk_frames": " ".join(map(str, CHUNKS)),
            "recipe": "llvc",
        }

    def describe_data(self) -> str:
        """Whom it learned to be, and from how much."""
        settings = self.settings
        heard = f" heard from {settings.heard}" if settings.heard else ""
        begun = f"; begun with `{Path(settings.begin_with).name}`" if settings.begin_with else ""
        return (
            f"target {self.pairs.settings.target}; {self.pairs.hours:.2f} h of pairs{heard} "
            f"({self.pairs.settings.teacher}), {len(self.scored)} held-out pairs scored{begun}"
        )

    def _convert(self, network: LlvcNetwork, pcm: np.ndarray) -> np.ndarray:
        hop = network.config.hop
        padded = torch.from_numpy(np.pad(pcm, (0, -len(pcm) % hop))).to(self.fabric.device)
        made: np.ndarray = network(padded[None])[0, : len(pcm)].float().cpu().numpy()
        return made

    def _distance(self, sounds: list[np.ndarray]) -> float:
        distances = [
            float(
                self.mel(
                    torch.from_numpy(sound)[None].to(self.fabric.device),
                    torch.from_numpy(pair.said)[None].to(self.fabric.device),
                )
            )
            for sound, pair in zip(sounds, self.scored, strict=True)
        ]
        return float(np.mean(distances))


def _voice(settings: Settings) -> LlvcNetwork:
    """The voice that training begins with.

    Raises:
        ConfigError: it has other sizes.
        ModelError: the file is missing, or no voice.
    """
    network = network_of(read_voice(settings.begin_with))
    if network.config != settings.llvc:
        raise ConfigError(
            f"{settings.begin_with} is a voice of width {network.config.width}, decoder_width "
            f"{network.config.decoder_width} and encoder_layers {network.config.encoder_layers}; "
            "give the same, or another begin_with"
        )
    return network


def spread_pairs(pairs: Pairs, count: int) -> list[Pair]:
    """Pairs evenly spread over all of them; fewer if there are not as many."""
    places = [(shard, entry) for shard in pairs.shards for entry in shard.entries]
    chosen = np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)
    return [places[number][0].pair(places[number][1]) for number in chosen]
