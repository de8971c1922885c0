"""Where CSM's files lie on this machine, and everything a voice needs loaded from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from backtalk.codecs.mimi.codes_identity import codes_sha256
from backtalk.codecs.mimi.load import load_mimi, mimi_from_tensors
from backtalk.codecs.mimi.mimi_model import MimiModel
from backtalk.codecs.mimi.random_mimi import random_mimi
from backtalk.codecs.mimi.weights_file import find_mimi_weights
from backtalk.csm.checkpoint import CODEC_PREFIX
from backtalk.csm.config import CsmConfig, csm_1b, csm_tiny
from backtalk.csm.feedback import Feedback
from backtalk.csm.load import checkpoint_files, load_csm, random_csm
from backtalk.csm.miniature_file import Miniature, read_miniature
from backtalk.csm.model import CsmModel
from backtalk.csm.phonemes import PhonemeTokenizer
from backtalk.csm.prompt import TextTokens
from backtalk.csm.tokenizer import CsmTokenizer, StandInTokenizer
from backtalk.errors import ModelError
from backtalk.models.miniatures import miniature_path
from backtalk.models.store import ModelStore
from backtalk.nn.linear import WeightFormat

SIZES = {"1b": csm_1b, "tiny": csm_tiny}


@dataclass(frozen=True, slots=True)
class CsmParts:
    """A CSM, its codec and its tokenizer, ready to run.

    Attributes:
        feedback: what the backbone should hear of codebooks that were not written: a miniature
            learnt to do without them.
    """

    csm: CsmModel
    mimi: MimiModel
    tokens: TextTokens
    feedback: Feedback = "mean"


def random_parts(seed: int, size: str, weights: WeightFormat, device: str) -> CsmParts:
    """Parts with random weights: noise at the speed of speech."""
    config: CsmConfig = SIZES[size]()
    return CsmParts(
        random_csm(seed, config=config, weights=weights, device=device),
        random_mimi(seed).to(device),
        StandInTokenizer(config.text_vocab),
    )


def load_parts(
    store: ModelStore, model: str | None, codec: str | None, weights: WeightFormat, device: str
) -> CsmParts:
    """Parts from files.

    Args:
        model: folder or file of the checkpoint, by default the folder `csm` of the store.
        codec: Mimi's file; by default what the checkpoint has of it, else Mimi's place in the
            store. Of a miniature: the mimi-mini that it was trained with, by default the shipped
            one.
    Raises:
        ModelError: something is missing or damaged; the message says how to get it.
    """
    path = Path(model) if model is not None else _folder(store)
    miniature = read_miniature(checkpoint_files(path)[0])
    if miniature is not None:
        csm = load_csm(path, weights=weights, device=device)
        mimi = _mimi_of(miniature, path, codec).to(device)
        return CsmParts(csm, mimi, PhonemeTokenizer(miniature.phonemes), "truncate")
    folder = path if path.is_dir() else path.parent
    tokens = CsmTokenizer(folder)
    mimi = _mimi(store, folder, codec).to(device)
    return CsmParts(load_csm(path, weights=weights, device=device), mimi, tokens)


def _folder(store: ModelStore) -> Path:
    folder = store.root / "csm"
    if folder.is_dir() and any(folder.glob("*.safetensors")):
        return folder
    raise ModelError(
        f"CSM's weights are not in {folder}: accept the terms at "
        "https://huggingface.co/sesame/csm-1b (the repository is gated), then run `hf download "
        f"sesame/csm-1b model.safetensors --local-dir {folder}` and put tokenizer.json of "
        "meta-llama/Llama-3.2-1B beside it; or give --model FOLDER, or --random-weights 0 to try "
        "without"
    )


def _mimi_of(miniature: Miniature, model: Path, codec: str | None) -> MimiModel:
    path = Path(codec) if codec is not None else miniature_path("mimi-mini")
    mimi = load_mimi(path)
    if codes_sha256(mimi) != miniature.codes_sha256:
        raise ModelError(
            f"{model} speaks the codes of another codec than {path}; give the mimi-mini that it "
            f"was trained with (codes {miniature.codes_sha256[:12]}...)"
        )
    return mimi


def _mimi(store: ModelStore, folder: Path, codec: str | None) -> MimiModel:
    if codec is not None:
        return load_mimi(codec)
    for file in _codec_files(folder):
        from safetensors import safe_open

        with safe_open(file, framework="pt") as opened:
            keys = [key for key in opened.keys() if key.startswith(CODEC_PREFIX)]  # noqa: SIM118
            tensors = {key.removeprefix(CODEC_PREFIX): opened.get_tensor(key) for key in keys}
        if tensors:
            return mimi_from_tensors(tensors, file)
    return load_mimi(find_mimi_weights(store))


def _codec_files(folder: Path) -> list[Path]:
    """Files that may hold Mimi, which is small enough to be in one of them."""
    for index in folder.glob("*.safetensors.index.json"):
        try:
            places = json.loads(index.read_text())["weight_map"]
            names = {name for key, name in places.items() if key.startswith(CODEC_PREFIX)}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # loading the checkpoint will say what is wrong
        if names:
            return [folder / Path(name).name for name in sorted(names)]
    return [file for file in folder.glob("*.safetensors") if file.is_file()]


def best_device(device: str | None) -> str:
    """The device asked for, or CUDA where there is one.

    Raises:
        ModelError: CUDA was asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if device is not None and device.startswith("cuda") and not has_cuda:
        raise ModelError("there is no CUDA device here; use device=cpu")
    return device or ("cuda" if has_cuda else "cpu")
