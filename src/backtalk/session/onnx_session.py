"""ONNX Runtime set up for a small detector that runs beside everything else on a few cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backtalk.errors import ModelError


def one_thread_session(path: Path) -> Any:
    """Load an ONNX model to run on the calling thread alone.

    Spinning is off: a worker that spins between two calls takes the core that the recogniser and
    the language model need.

    Args:
        path: the ONNX file.
    Returns:
        An `onnxruntime.InferenceSession`.
    Raises:
        ModelError: the file is missing or damaged.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    if not path.is_file():
        raise ModelError(f"model file {path} is missing; run `backtalk models get`")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"model file {path} cannot be loaded ({reason}); delete it and run "
            "`backtalk models get`"
        ) from error
