"""CSM's weights and the two things done with them: take positions in, draw a frame's codes.

Per frame the backbone takes one step, then the depth transformer N - 1, each conditioned on the
code before. At full depth it reads 3.6 times the backbone's bytes, so N is the price of a frame.

Source: https://github.com/SesameAILabs/csm (models.py). Deviates: the projection into the depth
transformer is folded into a table of its own once the weights are loaded (`fold`), the first depth
step takes two positions, and ids the codec does not know are never drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.csm.config import CsmConfig, TransformerSize
from backtalk.nn.attention import Place
from backtalk.nn.kv_cache import KvCache
from backtalk.nn.linear import Linear
from backtalk.nn.rope import LlamaScaling
from backtalk.nn.sampling import sample
from backtalk.nn.transformer import Transformer, TransformerState


@dataclass(slots=True)
class CsmState:
    """What a CSM remembers of every row, and the room it works in.

    Attributes:
        backbone: positions and their keys and values.
        pending: float [slots, 1, D], the input that the backbone takes with the next frame.
        noise: float32 [slots, codebooks, card], drawn before each frame.
        temperature: float32 [slots, 1], 0 for the likeliest code.
        end_bias: float32 [slots], added to the logit that ends a segment when it is drawn: that of
            code 0 of codebook 0.
        depth: keys and values within a frame; nothing of it outlives the frame.
        depth_places: where the positions of a frame stand, the first two as one step.
    """

    backbone: TransformerState
    pending: Tensor
    noise: Tensor
    temperature: Tensor
    end_bias: Tensor
    depth: list[KvCache]
    depth_places: list[Place]


class CsmModel(nn.Module):
    """Backbone, depth transformer, embeddings and heads.

    Args:
        config: sizes.
    """

    depth_embeddings: Tensor | None
    code_offsets: Tensor

    def __init__(self, config: CsmConfig) -> None:
        super().__init__()
        self.config = config
        width, depth_width = config.backbone.width, config.depth.width
        rows = config.codebooks * config.audio_vocab
        self.text_embeddings = nn.Parameter(torch.randn(config.text_vocab, width) * 0.02)
        self.audio_embeddings = nn.Parameter(torch.randn(rows, width) * 0.02)
        self.backbone = _transformer(config.backbone)
        self.depth = _transformer(config.depth)
        self.projection = Linear(width, depth_width)
        self.first_head = Linear(width, config.audio_vocab)
        self.later_heads = nn.ModuleList(
            Linear(depth_width, config.audio_vocab) for _ in range(config.codebooks - 1)
        )
        self.depth_embeddings = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.audio_embeddings.device

    def fold(self) -> None:
        """Project all audio embeddings into the depth transformer's width, once.

        Saves a product per code; costs a table of codebooks * audio_vocab * depth width.
        """
        pieces = [self.projection(rows) for rows in torch.split(self.audio_embeddings, 4096)]
        self.depth_embeddings = torch.cat(pieces)

    def alloc(self, slots: int) -> CsmState:
        """Memory for `slots` rows."""
        depth = self.depth.alloc(slots)
        norm = self.backbone.norm.get_parameter("weight")
        everyone = torch.ones(slots, dtype=torch.bool, device=self.device)
        places = []
        for at in range(self.config.codebooks - 1):
            steps = 2 if at == 0 else 1
            span = at + 2
            places.append(self.depth.place(depth, steps, everyone, norm.dtype, span))
            depth.position += steps
        config = self.config
        return CsmState(
            backbone=self.backbone.alloc(slots),
            pending=norm.new_zeros(slots, 1, config.backbone.width),
            noise=torch.zeros(slots, config.codebooks, config.card, device=self.device),
            temperature=torch.zeros(slots, 1, device=self.device),
            end_bias=torch.zeros(slots, device=self.device),
            depth=depth.caches,
            depth_places=places,
        )

    def reset(self, state: CsmState, mask: Tensor) -> None:
        """Forget everything in the rows where `mask` (bool [slots]) is True."""
        self.backbone.reset(state.backbone, mask)
        state.pending.masked_fill_(mask[:, None, None], 0)
        for cache in state.depth:
            cache.keys.masked_fill_(mask[:, None, None, None], 0)
            cache.values.masked_fill_(mask[:, None, None, None], 0)

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Int64 [...] to float [..., D]."""
        return F.embedding(tokens, self.text_embeddings).to(self._dtype)

    def embed_codes(self, codes: Tensor, fill: Tensor | None = None) -> Tensor:
        """The sum of a frame's code embeddings.

        Args:
            codes: int64 [..., N], codebooks 0 .. N-1.
            fill: float [codebooks + 1, D], row N added for the codebooks that are missing.
        Returns:
            float [..., D].
        """
        depth = codes.shape[-1]
        offsets = torch.arange(depth, device=codes.device) * self.config.audio_vocab
        summed = F.embedding(codes + offsets, self.audio_embeddings).sum(-2, dtype=torch.float32)
        if fill is not None:
            summed = summed + fill[depth]
        return summed.to(self._dtype)

    def take(self, state: CsmState, x: Tensor, active: Tensor, span: int | None = None) -> Tensor:
        """Feed positions to the backbone: float [slots, T, D] to its states after them."""
        return self.backbone.step(state.backbone, x, active, span)

    def step(
        self,
        state: CsmState,
        active: Tensor,
        depth: int,
        top_k: int | None = 50,
        fill: Tensor | None = None,
        span: int | None = None,
    ) -> Tensor:
        """One frame of every active row: take what is pending, draw codes, leave them pending.

        Args:
            active: bool [slots].
            depth: N, codes to draw, 1 .. codebooks.
            top_k: see `sample`.
            fill: see `embed_codes`.
            span: see `Transformer.step`.
        Returns:
            int64 [slots, N], each 0 .. card - 1; rows that sat out hold nothing of use.
        """
        hidden = self.take(state, state.pending, active, span)
        codes = self.draw(state, hidden, depth, top_k)
        next_input = self.embed_codes(codes, fill)[:, None]
        state.pending.copy_(torch.where(active[:, None, None], next_input, state.pending))
        return codes

    def draw(self, state: CsmState, hidden: Tensor, depth: int, top_k: int | None) -> Tensor:
        """The codes of a frame from the backbone's state [slots, 1, D]: int64 [slots, N]."""
        noise, temperature = state.noise, state.temperature
        logits = self.first_logits(hidden)[:, 0].float()
        logits[:, 0] += state.end_bias
        code = sample(logits, noise[:, 0], temperature, top_k)
        codes = [code]
        x = torch.cat((self.projection(hidden), self._depth_input(0, code)), dim=1)
        for at in range(1, depth):
            logits = self.later_logits(state, at, x)
            code = sample(logits, noise[:, at], temperature, top_k)
            codes.append(code)
            if at + 1 < depth:
                x = self._depth_input(at, code)
        return torch.stack(codes, dim=1)

    def first_logits(self, hidden: Tensor) -> Tensor:
        """Of codebook 0: [..., D] to [..., card]."""
        return self.first_head(hidden)[..., : self.config.card]

    def later_logits(self, state: CsmState, at: int, x: Tensor) -> Tensor:
        """Of codebook `at` after the depth transformer took x [slots, T, d]: [slots, card]."""
        hidden = self.depth.run(state.depth, x, state.depth_places[at - 1])
        return self.later_heads[at - 1](hidden[:, -1])[..., : self.config.card]

    def _depth_input(self, at: int, code: Tensor) -> Tensor:
        """What the depth transformer reads of a code: int64 [slots] to [slots, 1, d]."""
        rows = (code + at * self.config.audio_vocab)[:, None]
        if self.depth_embeddings is None:
            return self.projection(F.embedding(rows, self.audio_embeddings).to(self._dtype))
        return F.embedding(rows, self.depth_embeddings).to(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        """Of the activations."""
        return self.backbone.norm.get_parameter("weight").dtype


def _transformer(size: TransformerSize) -> Transformer:
    return Transformer(
        size.layers,
        size.width,
        size.hidden,
        size.heads,
        size.kv_heads,
        size.head_dim,
        theta=500_000.0,
        scaling=LlamaScaling(),
        max_positions=size.max_positions,
    )
