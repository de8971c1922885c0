"""The two published layouts of CSM's tensors, and the way from one to the other.

`original` is Sesame's own (torchtune names, rotary pairs interleaved), `transformers` is the port
to Hugging Face transformers (rotary pairs half-split, so query and key rows stand in another
order). Which one a checkpoint is in is told by its keys, never by its config.

Sources: https://github.com/SesameAILabs/csm (models.py);
https://github.com/huggingface/transformers (models/csm/convert_csm.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from backtalk.csm.config import CsmConfig, TransformerSize, csm_1b, csm_tiny
from backtalk.errors import ModelError
from backtalk.nn.rope import to_half_split, to_interleaved

Layout = Literal["original", "transformers"]

CODEC_PREFIX = "codec_model."
"""Keys of Mimi, which the transformers layout keeps in the same files."""

AUDIO_EMBEDDING_ALIAS = "depth_decoder.model.embed_tokens.weight"
"""A second name of the audio embedding in the transformers layout; either may be missing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a checkpoint.

    Attributes:
        original, transformers: its key in each layout.
        ours: the parameter of `CsmModel` it belongs to.
        shape: in both layouts.
        heads: of a query or key projection, whose rows the layouts order differently; else 0.
        part: which piece of `ours` it is, where several tensors were stacked into one.
    """

    original: str
    transformers: str
    ours: str
    shape: tuple[int, ...]
    heads: int = 0
    part: int = 0

    def key(self, layout: Layout) -> str:
        """Its name in a layout."""
        return self.original if layout == "original" else self.transformers


def entries(config: CsmConfig) -> list[Entry]:
    """Every tensor of a checkpoint of this size."""
    backbone, depth = config.backbone, config.depth
    audio_rows = config.codebooks * config.audio_vocab
    heads = (config.codebooks - 1, depth.width, config.audio_vocab)
    return [
        Entry(
            "text_embeddings.weight",
            "embed_text_tokens.weight",
            "text_embeddings",
            (config.text_vocab, backbone.width),
        ),
        Entry(
            "audio_embeddings.weight",
            "backbone_model.embed_tokens.embed_audio_tokens.weight",
            "audio_embeddings",
            (audio_rows, backbone.width),
        ),
        Entry(
            "projection.weight",
            "depth_decoder.model.inputs_embeds_projector.weight",
            "projection.weight",
            (depth.width, backbone.width),
        ),
        Entry(
            "codebook0_head.weight",
            "lm_head.weight",
            "first_head.weight",
            (config.audio_vocab, backbone.width),
        ),
        Entry("audio_head", "depth_decoder.codebooks_head.weight", "later_heads", heads),
        *_transformer_entries("backbone", "backbone_model", "backbone", backbone),
        *_transformer_entries("decoder", "depth_decoder.model", "depth", depth),
    ]


def _transformer_entries(
    original: str, transformers: str, ours: str, size: TransformerSize
) -> Iterator[Entry]:
    width, hidden = size.width, size.hidden
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    for at in range(size.layers):
        a, b, c = (f"{prefix}.layers.{at}." for prefix in (original, transformers, ours))
        projections = [
            ("attn.q_proj", "self_attn.q_proj", "attention.qkv", (queries, width), size.heads, 0),
            ("attn.k_proj", "self_attn.k_proj", "attention.qkv", (keys, width), size.kv_heads, 1),
            ("attn.v_proj", "self_attn.v_proj", "attention.qkv", (keys, width), 0, 2),
            ("attn.output_proj", "self_attn.o_proj", "attention.out", (width, queries), 0, 0),
            ("mlp.w1", "mlp.gate_proj", "mlp.gate_up", (hidden, width), 0, 0),
            ("mlp.w3", "mlp.up_proj", "mlp.gate_up", (hidden, width), 0, 1),
            ("mlp.w2", "mlp.down_proj", "mlp.down", (width, hidden), 0, 0),
        ]
        for a_name, b_name, c_name, shape, heads, part in projections:
            names = (f"{a}{a_name}.weight", f"{b}{b_name}.weight", f"{c}{c_name}.weight")
            yield Entry(*names, shape, heads, part)
        norms = [
            ("sa_norm.scale", "input_layernorm.weight", "attention_norm.weight"),
            ("mlp_norm.scale", "post_attention_layernorm.weight", "mlp_norm.weight"),
        ]
        for a_name, b_name, c_name in norms:
            yield Entry(a + a_name, b + b_name, c + c_name, (width,))
    yield Entry(
        f"{original}.norm.scale", f"{transformers}.norm.weight", f"{ours}.norm.weight", (width,)
    )


def layout_of(keys: Iterable[str], where: str) -> Layout:
    """Which layout a checkpoint is in.

    Raises:
        ModelError: neither.
    """
    names = set(keys)
    if "text_embeddings.weight" in names:
        return "original"
    if "embed_text_tokens.weight" in names:
        return "transformers"
    shown = ", ".join(sorted(names)[:3]) or "no tensors at all"
    raise ModelError(
        f"{where} is no CSM checkpoint: it has neither text_embeddings.weight nor "
        f"embed_text_tokens.weight, but {shown}"
    )


def known_size(shapes: Mapping[str, tuple[int, ...]], layout: Layout) -> CsmConfig:
    """The size that a checkpoint's text embedding belongs to; CSM-1B if it belongs to none."""
    for config in (csm_1b(), csm_tiny()):
        embedding = entries(config)[0]
        if shapes.get(embedding.key(layout)) == embedding.shape:
            return config
    return csm_1b()


def check_tensors(
    shapes: Mapping[str, tuple[int, ...]], layout: Layout, config: CsmConfig, where: str
) -> None:
    """Refuse a checkpoint with missing, additional or misshapen tensors.

    Args:
        shapes: of every tensor in the files.
    Raises:
        ModelError: naming the first few keys.
    """
    wanted = {entry.key(layout): entry.shape for entry in entries(config)}
    found = dict(shapes)
    if layout == "transformers":
        found = {key: shape for key, shape in found.items() if not key.startswith(CODEC_PREFIX)}
        alias = found.pop(AUDIO_EMBEDDING_ALIAS, None)
        if alias is not None:
            found.setdefault("backbone_model.embed_tokens.embed_audio_tokens.weight", alias)
    problems = []
    if missing := sorted(wanted.keys() - found.keys()):
        problems.append(f"lacks {_few(missing)}")
    if extra := sorted(found.keys() - wanted.keys()):
        problems.append(f"has unknown {_few(extra)}")
    misshapen = [
        f"{key} {list(found[key])} instead of {list(shape)}"
        for key, shape in sorted(wanted.items())
        if key in found and tuple(found[key]) != shape
    ]
    if misshapen:
        problems.append(f"has misshapen {_few(misshapen)}")
    if problems:
        raise ModelError(f"{where} ({layout} layout) {'; '.join(problems)}")


def convert(tensors: dict[str, Tensor], to: Layout, config: CsmConfig) -> dict[str, Tensor]:
    """The same checkpoint in the other layout, bit for bit; Mimi's tensors are left out.

    Raises:
        ModelError: what is given is not a whole checkpoint.
    """
    layout = layout_of(tensors, "the checkpoint")
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    check_tensors(shapes, layout, config, "the checkpoint")
    converted = {}
    for entry in entries(config):
        tensor = tensors[_present(entry.key(layout), tensors)]
        if entry.heads and layout != to:
            reorder = to_half_split if to == "transformers" else to_interleaved
            tensor = reorder(tensor, entry.heads)
        converted[entry.key(to)] = tensor
    return converted


def _present(key: str, tensors: Iterable[str]) -> str:
    """The key, or its alias if only that one is stored."""
    return key if key in tensors else AUDIO_EMBEDDING_ALIAS


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
