"""units: k-means over the states of a speech encoder (GSLM, arXiv 2102.01192).

Lloyd's rounds over all states; a cluster that has lost its members begins anew at a random state.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from backtalk.audio.resample import resample
from backtalk.codecs.units.load_encoder import load_encoder
from backtalk.codecs.units.speech_encoder import SAMPLE_RATE
from backtalk.codecs.units.unit_tokenizer import Clusters, UnitTokenizer
from backtalk.codecs.units.units_file import UnitStates, units_metadata, units_tensors
from backtalk.models.store import ModelStore
from backtalk.nn.k_means import nearest, shares_and_means
from backtalk.train.minitalk.corpus import DESCRIPTION, Corpus
from backtalk.train.phone_times import PhoneTimes
from backtalk.train.speech_store import Speech, open_speech
from backtalk.train.training import Batch, RunSettings, Stateful
from backtalk.train.unit_purity import purity

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_STATES = "states.npy"
_AT_ONCE = 8192
_HELD_OUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RunSettings):
    """The values and their meaning are in `units.yaml`.

    Attributes:
        hours: of speech, at most.
        scored_answers: of the corpus's test split, whose phones are compared with their units.
    """

    encoder: str
    layer: int
    states_per_unit: int
    block: int
    before: int
    after: int
    cardinality: int
    hours: float
    scored_answers: int

    @property
    def states(self) -> UnitStates:
        """What clusters are found among."""
        return UnitStates(
            self.encoder, self.layer, self.states_per_unit, self.block, self.before, self.after
        )


def build(settings: Settings, data: Path, out: Path, fabric: Fabric) -> UnitClusters:
    """A new model in training; encodes all speech first, unless that was done."""
    encoder = load_encoder(ModelStore.default(), settings.encoder, settings.layer)
    none = torch.zeros(encoder.width)
    clusters = Clusters(torch.zeros(settings.cardinality, encoder.width), none, none + 1)
    tokenizer = UnitTokenizer(encoder, clusters, settings.states.windows, settings.states_per_unit)
    if fabric.is_global_zero:  # the first device encodes, the others find it done
        _open_states(data, out, settings.hours, tokenizer)
    fabric.barrier()
    speech, held_out, states = _open_states(data, out, settings.hours, tokenizer)
    return UnitClusters(settings, speech, held_out, states, tokenizer, data, fabric)


class UnitClusters:
    """The clusters in training; see `Training`.

    Args:
        states: float [N, D].
        tokenizer: for speech held out; its clusters do not count.
    """

    def __init__(
        self,
        settings: Settings,
        speech: Speech,
        held_out: Speech,
        states: np.ndarray,
        tokenizer: UnitTokenizer,
        data: Path,
        fabric: Fabric,
    ) -> None:
        self.settings, self.data, self.fabric = settings, data, fabric
        self.speech, self.held_out, self.tokenizer = speech, held_out, tokenizer
        found = torch.from_numpy(states.astype(np.float32)).to(fabric.device)
        mean, deviation = found.mean(0), found.std(0).clamp(min=1e-6)
        self.scaled = (found - mean) / deviation
        self.state = _State(settings.cardinality, mean, deviation)

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """Everything that the next step depends on."""
        return {"clusters": self.state}

    @property
    def clusters(self) -> Clusters:
        """As they are now, on the CPU."""
        state = self.state
        return Clusters(state.centroids.cpu(), state.mean.cpu(), state.deviation.cpu())

    def batch(self, step: int) -> Batch:
        """Nothing: every step looks at all states."""
        return {}

    @torch.no_grad()
    def step(self, step: int, batch: Batch) -> Mapping[str, Tensor]:
        """One round."""
        x, count = self.scaled, self.settings.cardinality
        drawn = x[torch.randint(len(x), (count,), device=x.device)]
        if step == 0:
            self.state.centroids.copy_(drawn)
        centroids = self.state.centroids
        shares, sums = torch.zeros_like(centroids[:, 0]), torch.zeros_like(centroids)
        distance = x.new_zeros(())
        for piece in torch.split(
            x, _AT_ONCE
        ):  # all at once would need N x K numbers several times over
            chosen = nearest(piece, centroids)
            distance += (piece - centroids[chosen]).square().sum()
            part_shares, part_means = shares_and_means(piece, chosen, count)
            shares += part_shares * len(piece) / len(x)
            sums += part_means * len(piece) / len(x)
        is_used = shares > 0
        means = sums / shares[:, None].clamp(min=1e-12)
        self.state.centroids.copy_(torch.where(is_used[:, None], means, drawn))
        return {
            "distance": distance / x.numel(),
            "perplexity": torch.special.entr(shares).sum().exp(),
            "empty": (~is_used).sum().float(),
        }

    def score(self) -> Mapping[str, float]:
        """How near held-out states are, how many units are in use, how they go with phones."""
        clusters = self.clusters
        tokenizer = self.tokenizer
        pcm = self.held_out.pcm[: _HELD_OUT_S * SAMPLE_RATE].astype(np.float32) / 32768
        scaled = clusters.scaled(torch.from_numpy(tokenizer.states(pcm)))
        units = nearest(scaled, clusters.centroids)
        distances = (scaled - clusters.centroids[units]).square()
        shares = torch.bincount(units, minlength=tokenizer.cardinality) / len(units)
        found = {
            "distance": float(distances.mean()),
            "perplexity": float(torch.special.entr(shares).sum().exp()),
            "repeated": float((units[1:] == units[:-1]).float().mean()),
        }
        if (self.data / DESCRIPTION).is_file():
            found |= self._score_phones(clusters)
        return found

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The clusters in 16 bits."""
        tensors = units_tensors(self.clusters)
        return {name: tensor.half() for name, tensor in tensors.items()}, {
            **units_metadata(self.settings.states),
            "recipe": "units",
        }

    def describe_data(self) -> str:
        """Where the speech is from and how much there is."""
        return (
            f"{self.speech.hours:.2f} h of speech from `{self.speech.source}`, "
            f"{len(self.scaled)} states"
        )

    def _score_phones(self, clusters: Clusters) -> dict[str, float]:
        tokenizer = self.tokenizer
        phones, units, labels = PhoneTimes(), [], []
        turns = (turn for item in Corpus(self.data).items("test") for turn in item.turns)
        for turn in islice(turns, self.settings.scored_answers):
            pcm = resample(*turn.answer.pcm(), SAMPLE_RATE)
            states = tokenizer.states(pcm)
            if (found := phones.labels(turn.answer, len(states), tokenizer.unit_rate)) is not None:
                units.append(clusters.units(torch.from_numpy(states)).numpy())
                labels += found
        if not units:
            return {}
        how_pure = purity(np.concatenate(units), labels)
        return {"phone_purity": how_pure.phone, "phone_information": how_pure.shared}


class _State(nn.Module):
    """The clusters as a part of a checkpoint."""

    centroids: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, count: int, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("centroids", mean.new_zeros(count, len(mean)))
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)


def _open_states(
    data: Path, out: Path, hours: float, tokenizer: UnitTokenizer
) -> tuple[Speech, Speech, np.ndarray]:
    """The speech to learn from, the speech held out, and the states of the first, mapped."""
    speech, held_out = open_speech(data, out, SAMPLE_RATE, hours)
    path = out / _STATES
    if not path.is_file():
        recordings = zip(speech.starts, speech.starts[1:], strict=False)
        states = [
            tokenizer.states(speech.pcm[begin:end].astype(np.float32) / 32768)
            for begin, end in recordings
        ]
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(states).astype(np.float16))
        os.replace(partial, path)
    return speech, held_out, np.load(path, mmap_mode="r")
