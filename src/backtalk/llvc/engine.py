"""A voice on ONNX Runtime: one graph on one thread, any number of streams."""

from __future__ import annotations

from typing import Any

import numpy as np

from backtalk.errors import ConfigError, ModelError
from backtalk.llvc.config import SAMPLE_RATE, histories
from backtalk.llvc.folded import silence_after_prenet
from backtalk.llvc.graph import WEIGHT_FORMATS, WeightFormat, build_graph
from backtalk.llvc.row import LlvcRow
from backtalk.llvc.voice_file import Voice

MAX_CHUNK_FACTOR = 64


class LlvcEngine:
    """Converts to one voice. Streams are independent; each may be stepped by another thread.

    The stream gives back `frame_size` samples for `frame_size` samples, `lookahead_samples` late:
    what it gives is the whole-file result for the same sound after that much silence.

    Args:
        voice: whom to sound like.
        chunk_factor: chunks per step, 1 to 64: more is cheaper and later, and gives the same.
        weight_format: `int8` is faster and a little less exact.
    Attributes:
        voice: as given.
        sample_rate: Hz.
        frame_size: samples per step.
        lookahead_samples: how late the output is, samples, beyond the step itself.
    Raises:
        ConfigError: an argument is out of range.
        ModelError: ONNX Runtime does not take the graph.
    """

    def __init__(
        self, voice: Voice, *, chunk_factor: int = 1, weight_format: WeightFormat = "float32"
    ) -> None:
        if not 1 <= chunk_factor <= MAX_CHUNK_FACTOR:
            raise ConfigError(f"chunk_factor {chunk_factor}: give 1 to {MAX_CHUNK_FACTOR}")
        if weight_format not in WEIGHT_FORMATS:
            raise ConfigError(f"weights {weight_format!r}: there are {', '.join(WEIGHT_FORMATS)}")
        self.voice = voice
        self.sample_rate = SAMPLE_RATE
        self.frame_size = chunk_factor * voice.config.chunk_size
        self.lookahead_samples = voice.config.lookahead_samples
        self._frames = chunk_factor * voice.config.chunk_frames
        self._session = _one_thread_session(build_graph(voice, chunk_factor, weight_format))
        self._fresh: dict[str, np.ndarray] = {}
        if voice.config.prenet_blocks:
            self._fresh["input"] = silence_after_prenet(voice.weights, voice.config)[:, None]

    def open_row(self) -> LlvcRow:
        """A new stream; takes all its memory now."""
        config = self.voice.config
        return LlvcRow(self._session, histories(config), self._frames, config.hop, self._fresh)


def _one_thread_session(graph: bytes) -> Any:
    """ONNX Runtime on the calling thread alone."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"ONNX Runtime does not take this voice ({reason})") from error
