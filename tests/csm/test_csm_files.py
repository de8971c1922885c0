"""From files in the store to sound: what a real checkpoint would go through, with a tiny one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402

import backtalk.cascade.plugins  # noqa: E402
from backtalk.cli.speak import speak  # noqa: E402
from backtalk.codecs.mimi.random_mimi import random_mimi_tensors  # noqa: E402
from backtalk.csm.checkpoint import convert  # noqa: E402
from backtalk.csm.config import csm_tiny  # noqa: E402
from backtalk.csm.csm_tts import build_csm_tts  # noqa: E402
from backtalk.errors import ModelError  # noqa: E402
from backtalk.models.store import ModelStore  # noqa: E402
from backtalk.stream.cancel import CancelToken  # noqa: E402
from csm.golden_weights import golden_tensors  # noqa: E402


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """A store with Mimi and a tokenizer, and no checkpoint yet."""
    root = tmp_path_factory.mktemp("store")
    (root / "mimi").mkdir()
    (root / "csm").mkdir()
    mimi = root / "mimi" / "tokenizer-e351c8d8-checkpoint125.safetensors"
    save_file(random_mimi_tensors(0), mimi)
    letters = {chr(at): at - 31 for at in range(32, 127)} | {"[UNK]": 0}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>"])
    tokenizer.save(str(root / "csm" / "tokenizer.json"))
    return ModelStore(root)


def said(store: ModelStore) -> np.ndarray:
    tts = build_csm_tts(store, weights="float32", threads=1, rvq=4)
    return np.concatenate([piece.pcm for piece in tts.speak("Hi.", CancelToken())])


def put(store: ModelStore, tensors: dict[str, Any]) -> None:
    file = store.root / "csm" / "model.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)


def test_files_in_the_store_are_all_it_takes_in_either_layout(store: ModelStore) -> None:
    original = golden_tensors(csm_tiny())
    put(store, original)
    heard = said(store)
    assert heard.size % 1920 == 0
    assert np.abs(heard).max() > 0
    put(store, convert(original, "transformers", csm_tiny()))
    assert np.allclose(said(store), heard, atol=1e-4)


@pytest.mark.parametrize("kept_bytes", [0, 7, 5000, -1000])
def test_a_file_cut_short_is_one_line_that_names_it(store: ModelStore, kept_bytes: int) -> None:
    put(store, golden_tensors(csm_tiny()))
    file = store.root / "csm" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept_bytes])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged") as error:
        said(store)
    assert "\n" not in str(error.value)


def test_without_a_checkpoint_the_way_to_one_is_told(store: ModelStore) -> None:
    (store.root / "csm" / "model.safetensors").unlink(missing_ok=True)
    with pytest.raises(ModelError, match=r"gated.*hf download sesame/csm-1b"):
        said(store)


def test_speak_says_it_with_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = backtalk.cascade.plugins.find

    def find_csm(group: str, name: str) -> Any:
        if name != "csm":
            return find(group, name)
        return lambda store, **options: build_csm_tts(store, size="tiny", threads=1, **options)

    monkeypatch.setattr(backtalk.cascade.plugins, "find", find_csm)
    out = tmp_path / "hi.wav"
    speak("Hi.", out, "csm", rvq="4", weights="float32", random_weights=0, json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["tts"] == "csm"
    assert report["audio_s"] > 0.5
    assert out.stat().st_size > 24_000
