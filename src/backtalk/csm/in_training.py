"""A CSM that learns: whole segments at once, with the codes that were really spoken as its past.

Codebook 0 is learnt from every frame, the others from a random share of frames (Sesame's compute
amortisation). How many codes of a frame count is given for every frame: what is fed back is then
the sum of those alone, as it is when only so many are drawn, and only those are learnt. So a model
trained with all numbers knows every depth that it can be run at (the published CSM knows one).

Source: https://github.com/SesameAILabs/csm; "Crossing the uncanny valley of conversational voice"
(Sesame, 2025).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.csm.model import CsmModel


class CodebookLosses(NamedTuple):
    """Cross-entropies in nats.

    Attributes:
        sums: float [codebooks], over all codes looked at.
        counts: float [codebooks], how many those were.
    """

    sums: Tensor
    counts: Tensor

    @property
    def first(self) -> Tensor:
        """Of codebook 0, per code; scalar."""
        return self.sums[0] / self.counts[0].clamp(min=1)

    @property
    def later(self) -> Tensor:
        """Of the other codebooks, per code; scalar."""
        return self.sums[1:].sum() / self.counts[1:].sum().clamp(min=1)


class CsmInTraining(nn.Module):
    """The streaming model's weights in a differentiable pass over whole sequences.

    Args:
        model: its weights are trained in place; not folded.
    """

    def __init__(self, model: CsmModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor, depths: Tensor, share: float) -> CodebookLosses:
        """How well each position foretells the next.

        Args:
            frames: int64 [B, L, codebooks + 1], as `Positions.frames`; behind the last frame of a
                sequence anything that counts as text.
            depths: int64 [B, L], codes of a position that count; 0 for text.
            share: of the frames that later codebooks are learnt from, 0..1; frames that end a
                segment are all among them.
        """
        model, codebooks = self.model, self.model.config.codebooks
        hidden = model.backbone(self._embed(frames[:, :-1], depths[:, :-1]))
        is_foretold = depths[:, 1:] > 0
        hidden, codes = hidden[is_foretold], frames[:, 1:, :codebooks][is_foretold]
        depths = depths[:, 1:][is_foretold]
        first = F.cross_entropy(model.first_logits(hidden).float(), codes[:, 0], reduction="sum")
        chosen = (torch.rand(depths.shape, device=depths.device) < share) | ~codes.any(dim=1)
        chosen &= depths > 1
        sums, counts = self._later(hidden[chosen], codes[chosen], depths[chosen])
        return CodebookLosses(
            torch.stack([first, *sums]), torch.stack([first.new_tensor(len(codes)), *counts])
        )

    def _embed(self, frames: Tensor, depths: Tensor) -> Tensor:
        """[B, L, codebooks + 1] to [B, L, D]."""
        model, codebooks = self.model, self.model.config.codebooks
        is_sound = depths > 0
        rows = frames[..., :codebooks][is_sound] + self._offsets(codebooks)
        counts = torch.arange(codebooks, device=depths.device) < depths[is_sound][:, None]
        sound = F.embedding_bag(
            rows,
            model.audio_embeddings,
            mode="sum",
            per_sample_weights=counts.to(model.audio_embeddings.dtype),
        )
        x = F.embedding(frames[..., codebooks], model.text_embeddings)
        return x.masked_scatter(is_sound[..., None], sound)

    def _later(
        self, hidden: Tensor, codes: Tensor, depths: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Loss sums and counts of codebooks 1 and on, from F frames with the codes before each.

        Args:
            hidden: [F, D], the backbone's state before the frame.
            codes: int64 [F, codebooks].
            depths: int64 [F], at least 2.
        """
        model, codebooks = self.model, self.model.config.codebooks
        if not len(codes):
            nothing = [hidden.new_zeros(())] * (codebooks - 1)
            return nothing, nothing
        rows = codes[:, : codebooks - 1] + self._offsets(codebooks - 1)
        before = F.embedding(rows, model.audio_embeddings)
        x = model.projection(torch.cat((hidden[:, None].to(before.dtype), before), dim=1))
        states = model.depth(x)
        sums, counts = [], []
        for at, head in enumerate(model.later_heads, 1):
            counted = depths > at
            logits = head(states[counted, at])[:, : model.config.card].float()
            sums.append(F.cross_entropy(logits, codes[counted, at], reduction="sum"))
            counts.append(counted.sum().to(logits.dtype))
        return sums, counts

    def _offsets(self, codebooks: int) -> Tensor:
        """Int64 [codebooks], where each one's rows begin."""
        device = self.model.audio_embeddings.device
        return torch.arange(codebooks, device=device) * self.model.config.audio_vocab
