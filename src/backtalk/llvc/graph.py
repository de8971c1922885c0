"""An LLVC as an ONNX graph: one step of one stream, without torch and without an exporter.

Everything lies time first, [T, features], so that a convolution over frames is a matrix product and
a norm needs no transposition. What a stream remembers comes in as `NAME` (the last rows of it) and
the rows that a step adds go out as `NAME.new`; the caller keeps them (`row.py`), so that the graph
never moves a memory of which it needs a few rows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from backtalk.llvc.config import HEADS, KERNEL, History, histories
from backtalk.llvc.folded import (
    NORM_EPS,
    FoldedAttention,
    fold_attention,
    label_vector,
    many_to_one,
    one_to_many,
    position_table,
)
from backtalk.llvc.onnx_writer import CONTRIB, OnnxWriter
from backtalk.llvc.voice_file import Voice

WeightFormat = Literal["float32", "int8"]
WEIGHT_FORMATS: tuple[WeightFormat, ...] = ("float32", "int8")

CONVERTED = "converted"
"""The output [frames, hop]."""

_DECODER = "mask_gen.decoder.tf_dec_layers.0"


def new_name(history: History) -> str:
    """The output that carries what a step adds to a history."""
    return f"{history.name}.new"


def build_graph(voice: Voice, chunk_factor: int, weight_format: WeightFormat) -> bytes:
    """Write the graph.

    Args:
        voice: whose weights.
        chunk_factor: chunks per step; the result does not depend on it.
        weight_format: `int8` rounds the large matrices, and activations on their way into them.
    Returns:
        An ONNX file. Its first input is `heard` or, without a pre-net, `input`: the waveform, of
        which it wants the remembered samples and the new ones in one piece.
    """
    return _GraphBuilder(voice, chunk_factor, weight_format).build()


class _GraphBuilder:
    def __init__(self, voice: Voice, chunk_factor: int, weight_format: WeightFormat) -> None:
        self._weights = voice.weights
        self._config = voice.config
        self._chunks = chunk_factor
        self._frames = chunk_factor * voice.config.chunk_frames
        self._format = weight_format
        self._onnx = OnnxWriter("llvc")
        self._past: dict[str, str] = {}

    def build(self) -> bytes:
        onnx, config = self._onnx, self._config
        source, *kept = histories(config)
        samples = self._frames * config.hop
        sound = onnx.input(source.name, (source.length + samples, 1))
        for history in kept:
            self._past[history.name] = onnx.input(history.name, (history.length, history.width))
        if config.prenet_blocks:
            fresh = self._prenet(sound, source.length)
            sound = self._join("input", fresh)
        latent = self._encode_input(sound, "encoder.0.new")
        frames = self._encoder(latent)
        masked = self._masked(latent, frames)
        self._decode_output(masked)
        for history in kept:
            rows = self._frames * history.rows_per_frame
            onnx.output(new_name(history), (rows, history.width))
        onnx.output(CONVERTED, (self._frames, config.hop))
        return onnx.to_bytes()

    def _prenet(self, sound: str, past: int) -> str:
        """Gated blocks, each two samples shorter; all of them are run again over the past."""
        onnx = self._onnx
        length = past + self._frames * self._config.hop
        x = onnx.reshape(sound, 1, 1, length)
        same = np.zeros((1, 1, KERNEL), np.float32)
        same[0, 0, -1] = 1.0
        for block in range(self._config.prenet_blocks):
            name = f"convnet_pre.down_convs.{block}"
            taps = [self._weights[f"{name}.{part}.weight"] for part in ("filter", "gate")]
            biases = [self._weights[f"{name}.{part}.bias"] for part in ("filter", "gate")]
            kernel = onnx.constant(np.concatenate([*taps, same]))
            bias = onnx.constant(np.concatenate([*biases, np.zeros(1, np.float32)]))
            filtered, gate, x = onnx.split(onnx.op("Conv", x, kernel, bias), 1, 1, 1, 1)
            gated = onnx.op("Mul", onnx.op("Tanh", filtered), onnx.op("Sigmoid", gate))
            x = onnx.op("Add", x, gated)
        heard = onnx.slice(sound, 0, past, length)
        added = onnx.reshape(x, length - past, 1)
        return onnx.op("Add", heard, added, name="input.new")

    def _encode_input(self, sound: str, name: str) -> str:
        """Windows of three hops to features, [frames, width]."""
        onnx, hop = self._onnx, self._config.hop
        hops = onnx.reshape(sound, self._frames + 2, hop)
        pieces = [onnx.slice(hops, 0, i, i + self._frames) for i in range(3)]
        windows = onnx.op("Concat", *pieces, axis=1)
        matrix = onnx.constant(self._weights["in_conv.0.weight"][:, 0].T)
        return onnx.op("Relu", onnx.op("MatMul", windows, matrix), name=name)

    def _encoder(self, x: str) -> str:
        onnx, layers = self._onnx, self._config.encoder_layers
        for layer in range(layers):
            name = f"mask_gen.encoder.dcc_layers.dcc_{layer}.layers"
            mixed = self._depthwise(x, layer, name)
            mixed = onnx.op("Relu", mixed)
            weight, bias = self._weights[f"{name}.3.weight"], self._weights[f"{name}.3.bias"]
            mixed = self._linear(mixed, weight[:, :, 0], bias)
            mixed = onnx.op("Relu", self._norm(mixed, f"{name}.4"))
            following = f"encoder.{layer + 1}.new" if layer + 1 < layers else ""
            x = onnx.op("Add", x, mixed, name=following)
        return x

    def _depthwise(self, x: str, layer: int, name: str) -> str:
        """Every feature with its own three taps, `dilation` frames apart, then a norm."""
        onnx, frames, dilation = self._onnx, self._frames, 2**layer
        past = self._past[f"encoder.{layer}"]
        if dilation < frames:
            past = onnx.op("Concat", past, x, axis=0)
        oldest = onnx.slice(past, 0, 0, frames)
        middle = onnx.slice(past, 0, dilation, dilation + frames)
        taps = self._weights[f"{name}.0.weight"][:, 0]
        weighted = [
            onnx.op("Mul", rows, onnx.constant(taps[:, i]))
            for i, rows in enumerate((oldest, middle, x))
        ]
        before = onnx.op("Add", weighted[0], weighted[1])
        bias = self._weights[f"{name}.0.bias"]
        return self._sum_norm(before, weighted[2], f"{name}.1", bias)

    def _masked(self, latent: str, frames: str) -> str:
        """The decoder's mask on the latent frames."""
        onnx, weights, config = self._onnx, self._weights, self._config
        label = label_vector(weights)
        to_memory = many_to_one(weights["mask_gen.proj_e2d_e.0.weight"])
        to_target = many_to_one(weights["mask_gen.proj_e2d_l.0.weight"]) * label
        projections = np.concatenate((to_memory, to_target))
        biases = [weights[f"mask_gen.proj_e2d_{part}.0.bias"] for part in ("e", "l")]
        both = onnx.op("Relu", self._linear(frames, projections, np.concatenate(biases)))
        memory, target = onnx.split(both, 1, config.decoder_width, config.decoder_width)
        decoded = self._decoder(target, memory)
        back = one_to_many(weights["mask_gen.proj_d2e.0.weight"], config.decoder_width)
        back_bias = weights["mask_gen.proj_d2e.0.bias"]
        spread = onnx.op("Relu", self._linear(decoded, back, back_bias))
        labelled = onnx.op("Mul", frames, onnx.constant(label))
        return onnx.op("Mul", latent, onnx.op("Add", labelled, spread))

    def _decoder(self, target: str, memory: str) -> str:
        onnx, weights, config = self._onnx, self._weights, self._config
        hearing = fold_attention(weights, config, "self_attn")
        looking = fold_attention(weights, config, "multihead_attn")
        width = config.decoder_width
        projections = np.concatenate((hearing.queries, hearing.keys_values))
        projected = self._linear(target, projections, None)
        queries, keys_values = onnx.split(projected, 1, width, 2 * width)
        x = onnx.op("Add", target, self._per_chunk(self._positions()))
        heard = self._attend("self", "self_attn", queries, keys_values, hearing)
        x = self._sum_norm(heard, x, f"{_DECODER}.norm1")
        queries = self._linear(x, looking.queries, None)
        keys_values = self._linear(memory, looking.keys_values, None)
        seen = self._attend("cross", "multihead_attn", queries, keys_values, looking)
        x = self._sum_norm(seen, x, f"{_DECODER}.norm2")
        first, second = f"{_DECODER}.linear1", f"{_DECODER}.linear2"
        hidden = self._linear(x, weights[f"{first}.weight"], weights[f"{first}.bias"])
        hidden = onnx.op("Relu", hidden)
        changed = self._linear(hidden, weights[f"{second}.weight"], weights[f"{second}.bias"])
        return self._sum_norm(changed, x, f"{_DECODER}.norm3")

    def _positions(self) -> np.ndarray:
        config = self._config
        return position_table(config.window_frames, config.decoder_width)[config.context_frames :]

    def _attend(
        self, memory: str, name: str, queries: str, keys_values: str, folded: FoldedAttention
    ) -> str:
        """Queries [frames, D] at the windows that belong to their chunks."""
        onnx, config, chunks = self._onnx, self._config, self._chunks
        width, window = config.decoder_width, config.window_frames
        keys_values = onnx.op("Identity", keys_values, name=f"{memory}.new")
        joined = self._join(memory, keys_values)
        if chunks == 1:
            windows = onnx.reshape(joined, 1, window, 2 * width)
        else:
            begins = np.arange(chunks) * config.chunk_frames
            rows = begins[:, None] + np.arange(window)
            windows = onnx.op("Gather", joined, onnx.constant(rows.astype(np.int64)), axis=0)
        windows = onnx.op("Add", windows, onnx.constant(folded.at_keys_values))
        keys, values = onnx.split(windows, 2, width, width)
        queries = onnx.op("Add", queries, self._per_chunk(folded.at_queries))
        queries = onnx.reshape(queries, chunks, config.chunk_frames, width)
        inputs = (queries, keys, values)
        found = onnx.op("MultiHeadAttention", *inputs, domain=CONTRIB, num_heads=HEADS)
        found = onnx.reshape(found, self._frames, width)
        out = f"{_DECODER}.{name}.out_proj"
        return self._linear(found, self._weights[f"{out}.weight"], self._weights[f"{out}.bias"])

    def _decode_output(self, masked: str) -> None:
        """Every frame to the samples it reaches, then the sum of what reaches each."""
        onnx, config = self._onnx, self._config
        matrix = onnx.constant(self._weights["out_conv.0.weight"][:, 0])
        reached = onnx.op("MatMul", masked, matrix, name="output.new")
        joined = self._join("output", reached)
        pieces = []
        for age in range(config.overlap_frames + 1):
            first = config.overlap_frames - age
            begins = onnx.integers(first, age * config.hop)
            ends = onnx.integers(first + self._frames, (age + 1) * config.hop)
            pieces.append(onnx.op("Slice", joined, begins, ends, onnx.integers(0, 1)))
        onnx.op("Tanh", onnx.op("Sum", *pieces), name=CONVERTED)

    def _join(self, memory: str, fresh: str) -> str:
        return self._onnx.op("Concat", self._past[memory], fresh, axis=0)

    def _per_chunk(self, rows: np.ndarray) -> str:
        """[chunk_frames, D], for every chunk of the step."""
        return self._onnx.constant(np.tile(rows, (self._chunks, 1)))

    def _linear(self, x: str, weight: np.ndarray, bias: np.ndarray | None) -> str:
        onnx = self._onnx
        biases = [] if bias is None else [onnx.constant(bias)]
        if self._format == "float32":
            return onnx.op("Gemm" if biases else "MatMul", x, onnx.constant(weight.T), *biases)
        scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / np.float32(127.0)
        levels = np.rint(weight / scale[:, None]).astype(np.int8)
        constants = [onnx.constant(levels.T), onnx.constant(scale), "", *biases]
        return onnx.op("DynamicQuantizeMatMul", x, *constants, domain=CONTRIB)

    def _norm(self, x: str, name: str) -> str:
        scale, shift = (self._onnx.constant(self._weights[f"{name}.{p}"]) for p in _SCALE_SHIFT)
        return self._onnx.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=NORM_EPS)

    def _sum_norm(self, x: str, y: str, name: str, bias: np.ndarray | None = None) -> str:
        """The norm of x + y + bias."""
        # SkipLayerNormalization does the same in one operator, and takes three times as long.
        total = self._onnx.op("Add", x, y)
        if bias is not None:
            total = self._onnx.op("Add", total, self._onnx.constant(bias))
        return self._norm(total, name)


_SCALE_SHIFT = ("weight", "bias")
