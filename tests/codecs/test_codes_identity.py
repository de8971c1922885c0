"""Codes have an identity, which a decoder is no part of."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from backtalk.codecs.mimi.codes_identity import codes_sha256  # noqa: E402
from backtalk.codecs.mimi.mimi_model import MimiModel  # noqa: E402
from backtalk.codecs.mimi.new_mimi import new_mimi  # noqa: E402
from csm_mini.small_csm import CODEC  # noqa: E402


@pytest.fixture
def model() -> MimiModel:
    torch.manual_seed(0)
    return new_mimi(CODEC)


def test_a_decoder_that_learned_more_leaves_codes_what_they_are(model: MimiModel) -> None:
    before = codes_sha256(model)
    with torch.no_grad():
        for name, weight in model.decoder.named_parameters():
            if not name.startswith("quantizer"):
                weight.add_(1.0)
    assert codes_sha256(model) == before


@pytest.mark.parametrize("part", ["encoder.transformer", "encoder.seanet", "encoder.downsample"])
def test_an_encoder_that_learned_more_makes_other_codes(model: MimiModel, part: str) -> None:
    before = codes_sha256(model)
    with torch.no_grad():
        next(model.get_submodule(part).parameters()).add_(1.0)
    assert codes_sha256(model) != before


def test_centroids_that_moved_make_other_codes(model: MimiModel) -> None:
    before = codes_sha256(model)
    quantizer = model.quantizer.acoustic
    quantizer.set_centroids(quantizer.centroids + 1.0)
    assert codes_sha256(model) != before
