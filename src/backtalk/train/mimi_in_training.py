"""A Mimi that learns: the streaming model's own halves, with learning codebooks between them.

Follows Moshi (arXiv 2410.00037, section 3.3): a semantic and an acoustic quantizer read the same
vectors; the semantic one's output is compared with a speech encoder's states; how many acoustic
codebooks are used is drawn anew for every sequence, and some sequences are not quantized at all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.nn.running_centroids import RunningCentroids


class Remade(NamedTuple):
    """What became of the sound.

    Attributes:
        pcm: [B, T].
        meaning: [B, frames, teacher_width], a guess at the teacher's states.
        commitment: distance of the vectors from their centroids, both quantizers together; scalar.
    """

    pcm: Tensor
    meaning: Tensor
    commitment: Tensor


class MimiInTraining(nn.Module):
    """The model and what it needs only to learn.

    Args:
        model: its weights are trained in place.
        teacher_width: features of the teacher's states.
        decay: of the codebooks' running means.
    """

    def __init__(self, model: MimiModel, teacher_width: int, decay: float) -> None:
        super().__init__()
        self.model = model
        self.to_meaning = nn.Linear(model.config.width, teacher_width, bias=False)
        self.semantic = RunningCentroids(model.quantizer.semantic, decay)
        self.acoustic = RunningCentroids(model.quantizer.acoustic, decay)

    @torch.no_grad()
    def begin_codebooks(self, pcm: list[Tensor]) -> None:
        """Put all centroids where the vectors are.

        Args:
            pcm: batches, float [B, T] each; together they should give a few vectors per centroid.
        """
        vectors = torch.cat([self.model.encoder(batch).float().flatten(0, 1) for batch in pcm])
        self.semantic.begin(self.model.quantizer.semantic, vectors)
        self.acoustic.begin(self.model.quantizer.acoustic, vectors)

    def freeze_codes(self) -> None:
        """From now on only the decoder learns, and codes mean what they mean."""
        self.model.encoder.requires_grad_(False)  # and with it the quantizer
        self.to_meaning.requires_grad_(False)
        self.semantic.eval()
        self.acoustic.eval()

    def forward(
        self,
        pcm: Tensor,
        depth: Tensor,
        is_quantized: Tensor,
        *,
        has_codebooks: bool,
        reseed: bool,
    ) -> Remade:
        """Encode, quantize, decode.

        Args:
            pcm: float [B, T], T whole frames.
            depth: int64 [B], codebooks to use of each sequence, 1 to all.
            is_quantized: bool [B]; the vectors of other sequences go to the decoder as they are.
            has_codebooks: False while there are no centroids yet: vectors then pass through the
                quantizers' projections, unrounded.
            reseed: see `RunningCentroids`.
        """
        quantizer = self.model.quantizer
        vectors = self.model.encoder(pcm)
        if has_codebooks:
            levels = quantizer.semantic.levels
            first = self.semantic(
                quantizer.semantic, vectors, depth.clamp(max=levels), reseed=reseed
            )
            rest = self.acoustic(
                quantizer.acoustic, vectors, (depth - levels).clamp(min=0), reseed=reseed
            )
        else:
            first = self.semantic.unrounded(quantizer.semantic, vectors)
            rest = self.acoustic.unrounded(quantizer.acoustic, vectors)
        remade = first.vectors + rest.vectors
        chosen = torch.where(is_quantized[:, None, None], remade, vectors)
        return Remade(
            self.model.decoder(chosen).float(),
            self.to_meaning(first.vectors),
            first.commitment + rest.commitment,
        )


def meaning_loss(guessed: Tensor, states: Tensor) -> Tensor:
    """Cosine distance of [B, F, D] from the teacher's, averaged; scalar."""
    return 1 - torch.cosine_similarity(guessed.float(), states, dim=-1).mean()
