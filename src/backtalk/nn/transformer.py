"""A causal transformer that runs over whole sequences or step by step, with the same result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from backtalk.nn.attention import Attention, Place
from backtalk.nn.kv_cache import KvCache, alloc_kv, places_of, ring_places, visible
from backtalk.nn.mlp import GatedMlp, GeluMlp
from backtalk.nn.norm import LayerNorm, RmsNorm
from backtalk.nn.rope import LlamaScaling, rope_frequencies, turns_at


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); each branch scaled per feature if asked.

    Args:
        layer_scale: whether branches have a LayerScale (arXiv 2103.17239).
        Others as in `Transformer`.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        *,
        norm: Literal["rms", "layer"],
        mlp: Literal["gated", "gelu"],
        layer_scale: bool,
        eps: float,
    ) -> None:
        super().__init__()
        new_norm = RmsNorm if norm == "rms" else LayerNorm
        new_mlp = GatedMlp if mlp == "gated" else GeluMlp
        self.attention_norm = new_norm(width, eps)
        self.attention = Attention(width, heads, kv_heads, head_dim)
        self.mlp_norm = new_norm(width, eps)
        self.mlp = new_mlp(width, hidden)
        self.attention_scale = nn.Parameter(torch.ones(width)) if layer_scale else None
        self.mlp_scale = nn.Parameter(torch.ones(width)) if layer_scale else None

    def forward(self, x: Tensor, turns: Tensor, bias: Tensor) -> Tensor:
        """Whole sequences: [B, T, D] to [B, T, D]."""
        return self._rest(x, self.attention(self.attention_norm(x), turns, bias))

    def step(self, cache: KvCache, x: Tensor, place: Place) -> Tensor:
        """The next positions: [slots, T, D] to [slots, T, D]."""
        return self._rest(x, self.attention.step(cache, self.attention_norm(x), place))

    def _rest(self, x: Tensor, attended: Tensor) -> Tensor:
        if self.attention_scale is not None:
            attended = attended * self.attention_scale
        x = x + attended
        branch = self.mlp(self.mlp_norm(x))
        if self.mlp_scale is not None:
            branch = branch * self.mlp_scale
        return x + branch


@dataclass(slots=True)
class TransformerState:
    """What a transformer remembers of every row.

    Attributes:
        position: int64 [slots], positions taken so far.
        caches: one per layer.
    """

    position: Tensor
    caches: list[KvCache]


class Transformer(nn.Module):
    """Layers in a row, and a norm at the end if asked.

    Args:
        layers: how many.
        width: D of input and output.
        hidden: features inside the MLP.
        heads, kv_heads, head_dim: see `Attention`.
        norm: RMS or layer norm.
        mlp: gated (SwiGLU) or plain GELU.
        layer_scale: see `TransformerLayer`.
        final_norm: whether a norm follows the last layer.
        eps: of the norms.
        theta, scaling: see `rope_frequencies`.
        window: positions that a position looks back at, itself included; None for all.
        max_positions: without a window, the most positions a row may have.
        longest_step: with a window, the most positions in one step.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        hidden: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        *,
        norm: Literal["rms", "layer"] = "rms",
        mlp: Literal["gated", "gelu"] = "gated",
        layer_scale: bool = False,
        final_norm: bool = True,
        eps: float = 1e-5,
        theta: float = 10_000.0,
        scaling: LlamaScaling | None = None,
        window: int | None = None,
        max_positions: int = 2048,
        longest_step: int = 1,
    ) -> None:
        super().__init__()
        self.window = window
        self.places = max_positions if window is None else ring_places(window, longest_step)
        self.longest_step = self.places if window is None else longest_step
        self.head_dim, self.kv_heads, self.group = head_dim, kv_heads, heads // kv_heads
        self.rope = (theta, scaling)
        self._frequencies_on: dict[torch.device, Tensor] = {}
        self.layers = nn.ModuleList(
            TransformerLayer(
                width,
                hidden,
                heads,
                kv_heads,
                head_dim,
                norm=norm,
                mlp=mlp,
                layer_scale=layer_scale,
                eps=eps,
            )
            for _ in range(layers)
        )
        new_norm = RmsNorm if norm == "rms" else LayerNorm
        self.norm = new_norm(width, eps) if final_norm else nn.Identity()
        self._steps = [layer for layer in self.layers if isinstance(layer, TransformerLayer)]

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequences from their beginning: [B, T, D] to [B, T, D]."""
        place = self._offline_place(x)
        for layer in self._steps:
            x = layer(x, place[0], place[1])
        return self.norm(x)

    def alloc(self, slots: int) -> TransformerState:
        """Memory for `slots` rows, on the device and in the type of the weights."""
        weight = self._steps[0].attention_norm.weight
        caches = [
            alloc_kv(slots, self.places, self.kv_heads, self.head_dim, weight.dtype, weight.device)
            for _ in self._steps
        ]
        return TransformerState(torch.zeros(slots, dtype=torch.int64, device=weight.device), caches)

    def reset(self, state: TransformerState, mask: Tensor) -> None:
        """Begin anew in the rows where `mask` (bool [slots]) is True."""
        state.position.masked_fill_(mask, 0)
        for cache in state.caches:  # a NaN left behind would reach through a weight of zero
            cache.keys.masked_fill_(mask[:, None, None, None], 0)
            cache.values.masked_fill_(mask[:, None, None, None], 0)

    def step(
        self, state: TransformerState, x: Tensor, active: Tensor, span: int | None = None
    ) -> Tensor:
        """The next T positions of the active rows.

        Args:
            x: [slots, T, D]; T at most `longest_step`.
            active: bool [slots].
            span: a bound on the positions of every row after this step, to read no more of the
                cache than there is; the caller's to know, because asking the device would wait.
        Returns:
            [slots, T, D]; rows that sat out hold nothing of use.
        """
        steps = x.shape[1]
        place = self.place(state, steps, active, x.dtype, span)
        x = self.run(state.caches, x, place)
        state.position += steps * active
        return x

    def run(self, caches: list[KvCache], x: Tensor, place: Place) -> Tensor:
        """All layers at a place made before."""
        for layer, cache in zip(self._steps, caches, strict=True):
            x = layer.step(cache, x, place)
        return self.norm(x)

    def place(
        self,
        state: TransformerState,
        steps: int,
        active: Tensor,
        dtype: torch.dtype,
        span: int | None = None,
    ) -> Place:
        """Where the next `steps` positions of every row stand."""
        if steps > self.longest_step:
            raise ValueError(f"a step of {steps} positions, but at most {self.longest_step}")
        span = self.places if span is None or self.window is not None else span
        positions = state.position[:, None] + torch.arange(steps, device=active.device)
        seen = visible(positions, self.places, span, self.window)
        return Place(
            turns=turns_at(positions, self._frequencies(active.device)),
            rows=torch.arange(active.shape[0], device=active.device)[:, None],
            places=places_of(positions, self.places, active),
            span=span,
            bias=self._bias(seen, dtype),
        )

    def _offline_place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        positions = torch.arange(x.shape[1], device=x.device)[None]
        can_see = positions[:, None, :] <= positions[:, :, None]
        if self.window is not None:
            can_see &= positions[:, None, :] > positions[:, :, None] - self.window
        turns = turns_at(positions, self._frequencies(x.device))
        return turns, self._bias(can_see[:, None], x.dtype)

    def _bias(self, can_see: Tensor, dtype: torch.dtype) -> Tensor:
        """Bool [B, 1, T, S] to 0 or -inf of [B, 1, T * group, S]."""
        bias = torch.zeros(can_see.shape, dtype=dtype, device=can_see.device)
        return bias.masked_fill_(~can_see, -torch.inf).repeat_interleave(self.group, dim=2)

    def _frequencies(self, device: torch.device) -> Tensor:
        """Not a buffer: no checkpoint has it, and casting the weights must not round it."""
        if device not in self._frequencies_on:
            theta, scaling = self.rope
            self._frequencies_on[device] = rope_frequencies(self.head_dim, theta, scaling).to(
                device
            )
        return self._frequencies_on[device]
