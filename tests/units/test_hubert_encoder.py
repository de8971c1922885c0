"""HuBERT equals `transformers`, from either published layout (`benchmarks/hubert_parity.py`)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from backtalk.codecs.units.hubert_checkpoint import load_hubert_encoder  # noqa: E402
from backtalk.codecs.units.load_encoder import load_encoder  # noqa: E402
from backtalk.codecs.units.unit_tokenizer import Clusters, UnitTokenizer  # noqa: E402
from backtalk.codecs.units.windows import Windows  # noqa: E402
from backtalk.errors import ConfigError, ModelError  # noqa: E402
from backtalk.models.store import ModelStore  # noqa: E402
from units.fake_encoder import fake_tokenizer, noise  # noqa: E402

GOLDEN = load_file(Path(__file__).parent.parent / "golden" / "hubert_tiny.safetensors")
TO_FAIRSEQ = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"^feature_extractor\.conv_layers\.0\.layer_norm\.", "feature_extractor.conv_layers.0.2."),
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"^encoder\.pos_conv_embed\.batch_norm\.", "encoder.pos_conv.0."),
    (r"\.conv\.parametrizations\.weight\.original0$", ".conv.weight_g"),
    (r"\.conv\.parametrizations\.weight\.original1$", ".conv.weight_v"),
    (r"^(encoder\.layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"\.attention\.", ".self_attn."),
    (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
    (r"\.feed_forward\.output_dense\.", ".fc2."),
    (r"^masked_spec_embed$", "mask_emb"),
)


def tensors(rate: str, layout: str = "transformers") -> dict[str, Tensor]:
    prefix = f"{rate}/weights/"
    found = {n.removeprefix(prefix): t for n, t in GOLDEN.items() if n.startswith(prefix)}
    if layout == "transformers":
        return found
    renamed = {}
    for name, tensor in found.items():
        for pattern, replacement in TO_FAIRSEQ:
            name = re.sub(pattern, replacement, name)
        place = "1" if rate == "25" else "0"
        renamed[name.replace("encoder.pos_conv_embed.conv.", f"encoder.pos_conv.{place}.")] = tensor
    return renamed | {"final_proj.weight": torch.zeros(2, 2)}


@pytest.mark.parametrize("layout", ["transformers", "fairseq"])
@pytest.mark.parametrize(("rate", "hop"), [("50", 320), ("25", 640)])
def test_every_layer_is_that_of_transformers(
    tmp_path: Path, layout: str, rate: str, hop: int
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors(rate, layout), path)
    for layer in (1, 2):
        encoder = load_hubert_encoder(path, layer, "tiny")
        assert encoder.hop_samples == hop
        found = encoder.states(GOLDEN["pcm"].numpy())
        expected = GOLDEN[f"{rate}/states/{layer}"].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_whole_recording_has_the_units_of_its_states_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors("50"), path)
    states = GOLDEN["50/states/2"]
    plain = torch.zeros(states.shape[1])
    clusters = Clusters(states[::2].clone(), plain, plain + 1)
    encoder = load_hubert_encoder(path, 2, "tiny")
    tokenizer = UnitTokenizer(encoder, clusters, Windows(5, 2, 2), 1)
    units = tokenizer.encode_at_once(GOLDEN["pcm"].numpy())
    assert units[::2].tolist() == list(range(len(clusters.centroids)))
    assert tokenizer.encode_at_once(noise(100)).shape == (0,)
    two = fake_tokenizer(Windows(10, 0, 0))  # one window is all there is
    assert np.array_equal(two.encode_at_once(noise(6400)), two.encode(noise(6400)))


def test_a_hubert_in_the_store_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "my-hubert").mkdir()
    save_file(tensors("25"), tmp_path / "my-hubert" / "model.safetensors")
    encoder = load_encoder(ModelStore(tmp_path), "my-hubert", 1)
    assert (encoder.name, encoder.layer, encoder.width) == ("my-hubert", 1, 16)
    with pytest.raises(ModelError):
        load_encoder(ModelStore(tmp_path), "nobody", 1)


def test_what_is_no_hubert_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = tensors("50")
    save_file(whole, path)
    with pytest.raises(ConfigError, match="layers 1 to 2"):
        load_hubert_encoder(path, 3, "tiny")
    broken: list[tuple[dict[str, Tensor], str]] = [
        ({"x": torch.zeros(1)}, "is no HuBERT"),
        (whole | {"extra.weight": torch.zeros(1)}, "has not"),
        ({n: t for n, t in whole.items() if "k_proj.bias" not in n}, "lacks"),
        (whole | {"encoder.layer_norm.bias": torch.full((16,), torch.nan)}, "NaN"),
    ]
    for kept, said in broken:
        save_file(kept, path)
        with pytest.raises(ModelError, match=said):
            load_hubert_encoder(path, 1, "tiny")
