"""Whisper's encoder, read from CTranslate2's file and cut off behind any layer."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backtalk.audio.log_mel import log_mel  # noqa: E402
from backtalk.codecs.units.whisper_encoder import load_whisper_encoder  # noqa: E402
from backtalk.errors import ConfigError, ModelError  # noqa: E402
from backtalk.models.store import ModelStore  # noqa: E402
from units.fake_encoder import noise  # noqa: E402

WIDTH, LAYERS, POSITIONS = 64, 2, 100


def variables() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "position_encodings/encodings": (POSITIONS, WIDTH),
        "conv1/weight": (WIDTH, 80, 3),
        "conv1/bias": (WIDTH,),
        "conv2/weight": (WIDTH, WIDTH, 3),
        "conv2/bias": (WIDTH,),
        "layer_norm/gamma": (WIDTH,),
        "layer_norm/beta": (WIDTH,),
    }
    for i in range(LAYERS):
        for name, outputs, inputs in (
            ("self_attention/linear_0", 3 * WIDTH, WIDTH),
            ("self_attention/linear_1", WIDTH, WIDTH),
            ("ffn/linear_0", 4 * WIDTH, WIDTH),
            ("ffn/linear_1", WIDTH, 4 * WIDTH),
        ):
            shapes[f"layer_{i}/{name}/weight"] = (outputs, inputs)
            shapes[f"layer_{i}/{name}/bias"] = (outputs,)
        for name in ("self_attention", "ffn"):
            shapes[f"layer_{i}/{name}/layer_norm/gamma"] = (WIDTH,)
            shapes[f"layer_{i}/{name}/layer_norm/beta"] = (WIDTH,)
    found = {
        f"encoder/{name}": (0.1 * random.normal(size=shape)).astype(np.float16)
        for name, shape in shapes.items()
    }
    return found | {"encoder/num_heads": np.array(1, np.int16)}


def write_model(folder: Path, kept: dict[str, np.ndarray], version: int = 6) -> Path:
    """As CTranslate2 writes it."""
    kinds = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(kept))
    for name, array in kept.items():
        out += text(name) + struct.pack("<B", array.ndim)
        out += struct.pack(f"<{array.ndim}I", *array.shape)
        out += struct.pack("<BI", kinds[array.dtype.name], array.nbytes) + array.tobytes()
    folder.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(out + struct.pack("<I", 0))
    return folder


def test_every_layer_can_be_the_last(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny", variables())
    found = [load_whisper_encoder(path, layer).states(noise(3200)) for layer in (1, 2)]
    assert [states.shape for states in found] == [(10, WIDTH)] * 2
    assert not np.allclose(found[0], found[1])


def test_every_state_depends_on_all_of_the_window(tmp_path: Path) -> None:
    encoder = load_whisper_encoder(write_model(tmp_path / "tiny", variables()), 1)
    pcm = noise(3200)
    other = pcm.copy()
    other[-320:] = noise(320, seed=1)
    assert np.abs(encoder.states(pcm)[0] - encoder.states(other)[0]).max() > 1e-5


@pytest.mark.parametrize("layer", [0, 3])
def test_a_layer_that_is_not_there_is_refused(tmp_path: Path, layer: int) -> None:
    path = write_model(tmp_path / "tiny", variables())
    with pytest.raises(ConfigError, match="layers 1 to 2"):
        load_whisper_encoder(path, layer)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    whole = variables()
    with pytest.raises(ModelError, match="version 5"):
        load_whisper_encoder(write_model(tmp_path, whole, version=5), 1)
    quantized = whole | {"encoder/conv1/bias": np.zeros(WIDTH, np.int8)}
    with pytest.raises(ModelError, match="is quantized"):
        load_whisper_encoder(write_model(tmp_path, quantized), 1)
    lacking = {name: array for name, array in whole.items() if "conv1" not in name}
    with pytest.raises(ModelError, match="no Whisper encoder"):
        load_whisper_encoder(write_model(tmp_path, lacking), 1)
    file = write_model(tmp_path, whole) / "model.bin"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ModelError, match="cut short"):
        load_whisper_encoder(tmp_path, 1)
    file.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_whisper_encoder(tmp_path, 1)


@pytest.mark.models
def test_all_layers_give_what_ctranslate2_gives() -> None:
    import ctranslate2

    path = ModelStore.default().require("whisper-tiny.en")
    pcm = noise(32_000)
    model = ctranslate2.models.Whisper(str(path), compute_type="float32", intra_threads=1)
    mel = np.ascontiguousarray(log_mel(pcm)[None])
    theirs = np.array(model.encode(ctranslate2.StorageView.from_array(mel)))[0]
    ours = load_whisper_encoder(path, 4).states(pcm)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
