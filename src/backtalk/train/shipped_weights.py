"""The file a run ends in: safetensors, small enough to be shipped."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from backtalk.models.tensors import is_finite
from backtalk.train.training_error import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"
SIZE_LIMIT_BYTES = 16_000_000


def check_size(tensors: Mapping[str, Tensor], limit_bytes: int = SIZE_LIMIT_BYTES) -> int:
    """The bytes of tensors together.

    Raises:
        TrainingError: they are too many to be shipped; better known before the training.
    """
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size_bytes > limit_bytes:
        raise TrainingError(
            f"the model would have {size_bytes / 1e6:.1f} MB, more than the "
            f"{limit_bytes / 1e6:.0f} MB that are shipped; give smaller sizes"
        )
    return size_bytes


def write_weights(folder: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Path:
    """Write the file, whole or not at all.

    Raises:
        TrainingError: too large, a tensor is not finite, or the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    check_size(tensors)
    if spoilt := [name for name, tensor in tensors.items() if not is_finite(tensor)]:
        raise TrainingError(f"the trained weights have NaN or infinity in {spoilt[0]}")
    path = folder / WEIGHTS
    partial = path.with_name(f"{WEIGHTS}.partial")
    try:
        save_file(tensors, partial, metadata)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(f"{path} cannot be written ({error}); make room and go on") from error
    return path
