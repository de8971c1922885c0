"""Checkpoint files to a model, a tensor at a time, rounded as they are read.

No more than one tensor exists twice, so that the full size in 4 bits needs little more memory than
its 4 bits. Only safetensors files are read: a pickle can run code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backtalk.csm.checkpoint import (
    AUDIO_EMBEDDING_ALIAS,
    Entry,
    Layout,
    check_tensors,
    entries,
    known_size,
    layout_of,
)
from backtalk.csm.config import CsmConfig, csm_1b
from backtalk.csm.miniature_file import read_miniature
from backtalk.csm.model import CsmModel
from backtalk.errors import ModelError
from backtalk.nn.linear import WeightFormat, rounded
from backtalk.nn.rope import to_interleaved

RANDOM_POOL = 2_999_999
"""Numbers that random weights are made of, over and over: prime, so that rows differ."""

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def load_csm(
    path: Path,
    *,
    config: CsmConfig | None = None,
    weights: WeightFormat = "float32",
    device: str = "cpu",
) -> CsmModel:
    """Load a checkpoint of either published layout.

    Args:
        path: a safetensors file, or a folder with one or with an index of several.
        config: sizes; by default those that the file names, else the known ones that its text
            embedding has, else CSM-1B's.
        weights: what the matrices are rounded to; see `WeightFormat`.
        device: where the model will run.
    Raises:
        ModelError: no such file, a pickle, a damaged file, or tensors that are missing, unknown,
            misshapen, integers or not finite; the message names the first few.
    """
    with ExitStack() as stack:
        paths = checkpoint_files(path)
        files = _TensorFiles(stack, paths)
        layout = layout_of(files.shapes, str(path))
        miniature = read_miniature(paths[0])
        if config is None:
            config = miniature.config if miniature else known_size(files.shapes, layout)
        check_tensors(files.shapes, layout, config, str(path))

        def read(entry: Entry) -> Tensor:
            return files.read(entry.key(layout))

        return build_csm(config, read, layout, weights, device)


def random_csm(
    seed: int = 0,
    *,
    config: CsmConfig | None = None,
    weights: WeightFormat = "float32",
    device: str = "cpu",
) -> CsmModel:
    """A model with random weights: it speaks noise at the speed of the real one."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(RANDOM_POOL, generator=generator)

    def draw(entry: Entry) -> Tensor:
        if len(entry.shape) == 1:
            return torch.ones(entry.shape)
        scale = 0.02 if "embeddings" in entry.ours else entry.shape[-1] ** -0.5
        wanted = math.prod(entry.shape)
        return pool.repeat(wanted // RANDOM_POOL + 1)[:wanted].view(entry.shape) * scale

    return build_csm(config or csm_1b(), draw, "original", weights, device)


def build_csm(
    config: CsmConfig,
    read: Callable[[Entry], Tensor],
    layout: Layout,
    weights: WeightFormat = "float32",
    device: str = "cpu",
) -> CsmModel:
    """Fill a model from a source of tensors.

    Args:
        read: the tensor of an entry, as it is in `layout`.
    Raises:
        ModelError: a tensor is not finite.
    """
    with torch.device("meta"):
        model = CsmModel(config)
    groups: dict[str, list[Entry]] = {}
    for entry in entries(config):
        groups.setdefault(entry.ours, []).append(entry)
    # On CUDA everything between the products runs in 16 bits as well.
    plain = torch.bfloat16 if device.startswith("cuda") and weights != "float32" else torch.float32
    table = torch.float32 if weights == "float32" else torch.bfloat16
    with torch.no_grad():
        for ours, group in groups.items():
            pieces = [_checked(entry, read(entry), layout) for entry in group]
            tensor = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
            if ours == "later_heads":
                for at, head in enumerate(tensor):
                    _place(model, f"later_heads.{at}", head.t().to(device), weights, config.card)
            elif ours == "first_head.weight":
                _place(model, "first_head", tensor.to(device), weights, config.card)
            elif tensor.ndim == 2 and ours.endswith(".weight"):
                _place(model, ours.removesuffix(".weight"), tensor.to(device), weights, None)
            else:
                dtype = table if "embeddings" in ours else plain
                _set(model, ours, nn.Parameter(tensor.to(device, dtype), requires_grad=False))
        model.fold()
    return model.eval()


def _place(
    model: CsmModel, name: str, weight: Tensor, weights: WeightFormat, rows: int | None
) -> None:
    """Put a matrix where the model has a linear layer; rounded heads leave reserved ids out."""
    kept = weight if weights in ("float32", "bfloat16") else weight[:rows]
    # A head is read once per code and decides it: never below 8 bits.
    is_head = rows is not None
    format: WeightFormat = "int8" if is_head and weights == "int4" else weights
    _set(model, name, rounded(kept.contiguous(), format))


def _set(model: nn.Module, name: str, value: Any) -> None:
    parent, _, last = name.rpartition(".")
    owner = model.get_submodule(parent)
    setattr(owner, last, value)


def _checked(entry: Entry, tensor: Tensor, layout: Layout) -> Tensor:
    if not tensor.is_floating_point():
        raise ModelError(
            f"tensor {entry.key(layout)} is {tensor.dtype}, but weights are floating point; "
            "get the file again"
        )
    if not torch.isfinite(tensor).all():
        raise ModelError(
            f"tensor {entry.key(layout)} has values that are not finite; get the file again"
        )
    if entry.heads and layout == "transformers":
        return to_interleaved(tensor, entry.heads)
    return tensor


def checkpoint_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint.

    A folder that has both layouts, as the published one, is read in the original layout.

    Raises:
        ModelError: there are none.
    """
    if path.is_file():
        if path.suffix in PICKLES:
            raise ModelError(_no_pickle(path))
        return [path]
    if not path.is_dir():
        raise ModelError(f"there is no CSM checkpoint at {path}")
    if (path / "model.safetensors").is_file():
        return [path / "model.safetensors"]
    for index in sorted(path.glob("*.safetensors.index.json")):
        return _indexed(index)
    if files := sorted(path.glob("*.safetensors")):
        return files
    for pickle in sorted(p for p in path.iterdir() if p.suffix in PICKLES):
        raise ModelError(_no_pickle(pickle))
    raise ModelError(f"{path} has no safetensors file")


def _no_pickle(path: Path) -> str:
    return (
        f"{path} is a pickle, which can run code, and is not read; convert it once where you trust "
        "it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
    )


def _indexed(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text())["weight_map"].values())
        files = [index.parent / Path(name).name for name in sorted(names)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is no index of safetensors files: {error}") from error
    if missing := [file.name for file in files if not file.is_file()]:
        raise ModelError(f"{index.parent} lacks {', '.join(missing[:3])}, which its index names")
    return files


class _TensorFiles:
    """Several safetensors files as one table of tensors."""

    def __init__(self, stack: ExitStack, files: list[Path]) -> None:
        from safetensors import SafetensorError, safe_open

        self._where: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            try:
                opened = stack.enter_context(safe_open(file, framework="pt"))
                for key in opened.keys():  # noqa: SIM118, not a dict
                    self._where[key] = opened
                    self.shapes[key] = tuple(opened.get_slice(key).get_shape())
            except (SafetensorError, OSError) as error:
                raise ModelError(f"{file} is damaged or no safetensors file: {error}") from error

    def read(self, key: str) -> Tensor:
        """One tensor, as stored."""
        if key not in self._where:
            key = AUDIO_EMBEDDING_ALIAS
        tensor: Tensor = self._where[key].get_tensor(key)
        return tensor
