"""Unit vocoders on disk: the published layout, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from backtalk.codecs.unit_vocoder.checkpoint import (  # noqa: E402
    load_unit_vocoder,
    sizes_metadata,
    vocoder_tensors,
)
from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig  # noqa: E402
from backtalk.codecs.unit_vocoder.new_unit_vocoder import (  # noqa: E402
    new_unit_vocoder,
    without_weight_norm,
)
from backtalk.codecs.unit_vocoder.unit_vocoder_model import UnitVocoderModel  # noqa: E402
from backtalk.errors import ModelError  # noqa: E402
from unit_vocoder.small_vocoder import BOTH, PUBLISHED_SHAPE, small_vocoder  # noqa: E402

UNITS = torch.arange(20).remainder(7)[None]


def published_tensors() -> dict[str, Tensor]:
    """A checkpoint as it is published, with weight norm, of the small sizes."""
    random = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}

    def normal(name: str, *shape: int) -> None:
        tensors[name] = torch.randn(shape, generator=random) * 0.2

    def normed(name: str, *shape: int, biases: int) -> None:
        normal(f"{name}.weight_v", *shape)
        tensors[f"{name}.weight_g"] = 0.3 + torch.rand(shape[0], 1, 1, generator=random)
        normal(f"{name}.bias", biases)

    normal("dict.weight", 20, 8)
    normed("conv_pre", 16, 8, 7, biases=16)
    channels = 16
    for stage, kernel in enumerate((11, 4, 4)):
        normed(f"ups.{stage}", channels, channels // 2, kernel, biases=channels // 2)
        channels //= 2
        for beside, block_kernel in enumerate((3, 7)):
            for convs in ("convs1", "convs2"):
                for i in range(2):
                    name = f"resblocks.{2 * stage + beside}.{convs}.{i}"
                    normed(name, channels, channels, block_kernel, biases=channels)
    normed("conv_post", 1, channels, 7, biases=1)
    for name, inputs in (("conv1.0", 8), ("conv2.0", 8)):
        normal(f"dur_predictor.{name}.weight", 8, inputs, 3)
        normal(f"dur_predictor.{name}.bias", 8)
    for name in ("ln1", "ln2"):
        normal(f"dur_predictor.{name}.weight", 8)
        normal(f"dur_predictor.{name}.bias", 8)
    normal("dur_predictor.proj.weight", 1, 8)
    normal("dur_predictor.proj.bias", 1)
    return tensors


def published_sound(tensors: dict[str, Tensor], units: Tensor) -> Tensor:
    """HiFi-GAN's formulas, written down once more without any of our layers."""

    def weight(name: str) -> Tensor:
        direction = tensors[f"{name}.weight_v"]
        length = direction.flatten(1).norm(dim=1)[:, None, None]
        return direction / length * tensors[f"{name}.weight_g"]

    def conv(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        w = weight(name)
        padding = (w.shape[2] - 1) * dilation // 2
        return F.conv1d(x, w, tensors[f"{name}.bias"], padding=padding, dilation=dilation)

    x = conv("conv_pre", tensors["dict.weight"][units].transpose(1, 2))
    for stage, (rate, kernel) in enumerate(((5, 11), (2, 4), (2, 4))):
        name = f"ups.{stage}"
        x = F.conv_transpose1d(
            F.leaky_relu(x, 0.1),
            weight(name),
            tensors[f"{name}.bias"],
            stride=rate,
            padding=(kernel - rate) // 2,
        )
        total = torch.zeros_like(x)
        for beside in range(2):
            y = x
            for i, dilation in enumerate((1, 3)):
                block = f"resblocks.{2 * stage + beside}"
                z = conv(f"{block}.convs1.{i}", F.leaky_relu(y, 0.1), dilation)
                y = y + conv(f"{block}.convs2.{i}", F.leaky_relu(z, 0.1))
            total = total + y
        x = total / 2
    return torch.tanh(conv("conv_post", F.leaky_relu(x)))[:, 0]


def published_lengths(tensors: dict[str, Tensor], units: Tensor) -> Tensor:
    """The duration predictor's formulas."""

    def part(number: int, x: Tensor) -> Tensor:
        name = f"dur_predictor.conv{number}.0"
        y = F.conv1d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)
        norm = f"dur_predictor.ln{number}"
        y = F.relu(y).transpose(1, 2)
        return F.layer_norm(y, (8,), tensors[f"{norm}.weight"], tensors[f"{norm}.bias"])

    y = part(1, tensors["dict.weight"][units].transpose(1, 2))
    y = part(2, y.transpose(1, 2))
    logs = F.linear(y, tensors["dur_predictor.proj.weight"], tensors["dur_predictor.proj.bias"])
    return torch.clamp(torch.round(torch.exp(logs[..., 0]) - 1).long(), min=1)


def test_a_published_checkpoint_sounds_as_its_formulas_say(tmp_path: Path) -> None:
    tensors = published_tensors()
    path = tmp_path / "generator.safetensors"
    save_file(tensors, path)
    model = load_unit_vocoder(path, PUBLISHED_SHAPE)
    with torch.inference_mode():
        torch.testing.assert_close(
            model(UNITS), published_sound(tensors, UNITS), atol=1e-5, rtol=1e-5
        )
        padded = F.pad(UNITS, (2, 2), value=-1)
        assert torch.equal(model.lengths_of_middle(padded), published_lengths(tensors, UNITS))


def test_sizes_come_from_the_published_configuration_beside_the_file(tmp_path: Path) -> None:
    save_file(published_tensors(), tmp_path / "g.safetensors")
    published = {
        "num_embeddings": 20,
        "embedding_dim": 8,
        "model_in_dim": 8,
        "upsample_initial_channel": 16,
        "upsample_rates": [5, 2, 2],
        "upsample_kernel_sizes": [11, 4, 4],
        "resblock": "1",
        "resblock_kernel_sizes": [3, 7],
        "resblock_dilation_sizes": [[1, 3], [1, 3]],
        "sampling_rate": 16000,
        "dur_predictor_params": {"encoder_embed_dim": 8, "var_pred_hidden_dim": 8},
    }
    (tmp_path / "config.json").write_text(json.dumps(published))
    assert load_unit_vocoder(tmp_path / "g.safetensors").config == PUBLISHED_SHAPE
    published["resblock_dilation_sizes"] = [[1, 3], [1, 5]]
    (tmp_path / "config.json").write_text(json.dumps(published))
    with pytest.raises(ModelError, match=r"config\.json"):
        load_unit_vocoder(tmp_path / "g.safetensors")


def test_the_published_sizes_have_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        model = UnitVocoderModel(UnitVocoderConfig())
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(13.48e6, rel=1e-3)


@pytest.mark.parametrize("config", BOTH, ids=["samples", "spectra"])
def test_our_own_file_names_its_sizes(tmp_path: Path, config: UnitVocoderConfig) -> None:
    model = small_vocoder(config)
    path = tmp_path / "model.safetensors"
    save_file(vocoder_tensors(model), path, sizes_metadata(config))
    again = load_unit_vocoder(path)
    assert again.config == config
    assert torch.equal(again(UNITS), model(UNITS))


@pytest.mark.parametrize("config", BOTH, ids=["samples", "spectra"])
def test_weight_norm_multiplied_out_changes_no_sound(config: UnitVocoderConfig) -> None:
    torch.manual_seed(0)
    model = new_unit_vocoder(config).eval()
    before = model(UNITS)
    assert "generator.last.parametrizations.weight.original0" in model.state_dict()
    torch.testing.assert_close(without_weight_norm(model)(UNITS), before)


def test_what_is_no_unit_vocoder_is_refused(tmp_path: Path) -> None:
    tensors = published_tensors()
    path = tmp_path / "g.safetensors"
    broken: list[tuple[dict[str, Tensor], str]] = [
        ({n: t for n, t in tensors.items() if n != "dict.weight"}, "lacks dict.weight"),
        (tensors | {"spkr.weight": torch.zeros(2)}, "has not: spkr.weight"),
        (tensors | {"conv_post.bias": torch.tensor([torch.nan])}, "NaN"),
        (tensors | {"conv_post.bias": torch.zeros(2)}, "has shape"),
    ]
    for kept, said in broken:
        save_file(kept, path)
        with pytest.raises(ModelError, match=said):
            load_unit_vocoder(path, PUBLISHED_SHAPE)
    save_file(tensors, path, {"unit_vocoder_config": "{}"})
    with pytest.raises(ModelError, match="sizes cannot be read"):
        load_unit_vocoder(path)
    path.write_bytes(pickle.dumps({"generator": {}}, protocol=4))
    with pytest.raises(ModelError, match=r"\['generator'\]"):
        load_unit_vocoder(path)
